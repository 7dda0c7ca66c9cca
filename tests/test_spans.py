"""Linear layers and what they see, where a spectrum stops being signal, and the smooth basis."""

import pytest
import torch
from attack_problems import as_modules, convnet, mlp, target_of
from torch import nn

from privaudit.spans import cut_spectrum, linear_sites, pixel_space, roughness_form, smooth_span

SHAPE = (1, 5, 4)


def test_sites_of_a_chain_are_its_layers_with_what_enters_them():
    network = mlp()
    inputs = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    sites = linear_sites(target_of(network))
    assert [site.name for site in sites] == ["layers.0", "layers.1", "layers.2"]
    assert [site.sees_inputs for site in sites] == [True, False, False]
    assert [site.bias is not None for site in sites] == [True, False, False]
    hidden = inputs.flatten(1)
    for site, layer in zip(sites, network.linear_layers(), strict=True):
        torch.testing.assert_close(site.features(inputs), hidden)
        assert torch.equal(site.weight, layer.weight)
        hidden = layer(hidden).relu()


def test_features_behind_a_convolution_are_differentiable():
    network = convnet()
    (site,) = linear_sites(target_of(network, (1, 8, 8)))
    assert site.name == "6" and not site.sees_inputs
    inputs = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    torch.testing.assert_close(site.features(inputs), network[:6](inputs))
    (gradient,) = torch.autograd.grad(site.features(inputs).sum(), inputs)
    assert float(gradient.norm()) > 0
    assert all(not module._forward_pre_hooks for module in network.modules())


def test_a_users_module_is_read_in_the_order_of_its_forward_pass():
    class Net(nn.Module):
        """Registered backwards, one layer applied per token, one not used."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(6, 3)
            self.first = nn.Linear(20, 6)
            self.token = nn.Linear(4, 4)
            self.idle = nn.Linear(2, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            tokens = self.token(inputs)
            return self.last(torch.tanh(self.first(tokens.flatten(1))))

    network = Net().requires_grad_(False)
    sites = linear_sites(target_of(network))
    assert [site.name for site in sites] == ["first", "last"]
    assert not any(site.sees_inputs for site in sites)
    assert linear_sites(target_of(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten()), SHAPE)) == ()


def noisy(rank: int, ratio: float, seed: int, shape: tuple[int, int]) -> torch.Tensor:
    """Noise of unit variance plus `rank` directions, the weakest `ratio` times the noise's edge."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    left = torch.linalg.qr(torch.randn(shape[0], rank, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(shape[1], rank, generator=generator))[0]
    edge = shape[0] ** 0.5 + shape[1] ** 0.5
    return noise + (left * torch.linspace(4, 1, rank) * ratio * edge) @ right.T


@pytest.mark.parametrize("shape", [(200, 120), (120, 200), (150, 150)])
@pytest.mark.parametrize("rank", [5, 40])
def test_a_planted_rank_is_recovered_under_noise(shape, rank):
    """Twenty seeds: never off by more than one, and right in at least 18."""
    cuts = [cut_spectrum(noisy(rank, 1.6, seed, shape)) for seed in range(20)]
    assert all(abs(cut.rank - rank) <= 1 for cut in cuts)
    assert sum(cut.rank == rank for cut in cuts) >= 18
    assert all(cut.low <= cut.rank <= cut.high for cut in cuts)
    assert {cut.rule for cut in cuts} <= {"noise_edge", "cliff"}


@pytest.mark.parametrize("seed", range(3))
def test_a_cliff_counts_exactly(seed):
    cut = cut_spectrum(noisy(30, 60, seed, (200, 120)))
    assert cut.has_cliff and (cut.rank, cut.rule) == (30, "cliff")
    assert cut.cliff_ratio == pytest.approx(float(cut.singular_values[29] / cut.singular_values[30]))
    assert cut.cliff_ratio > 20
    assert (cut.singular_values[:-1] >= cut.singular_values[1:]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_gap_at_the_edge_of_the_noise_counts_too(seed):
    """Weakest direction 1.6 times the edge: its gap is no cliff, but no random matrix has one like it."""
    cut = cut_spectrum(noisy(30, 1.6, seed, (300, 500)))
    assert (cut.rank, cut.rule) == (30, "cliff") and 1.25 <= cut.cliff_ratio < 2
    assert cut_spectrum(noisy(30, 1.6, seed, (300, 500)), 30).rule == "noise_edge"
    assert cut_spectrum(noisy(30, 0.9, seed, (300, 500))).rule == "noise_edge"


def test_the_last_steep_cliff_counts_far_above_the_noise_too():
    """Class means, images and leftovers of training, as behind convolutions: three scales and noise below."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 120, generator=generator))[0] for n in (200, 150))
    values = torch.cat([torch.linspace(1, 0.5, 9), torch.linspace(0.05, 0.01, 31), 1e-3 * 0.9 ** torch.arange(80)])
    weight = (left * values) @ right.T + 1e-7 * torch.randn(200, 150, generator=generator)
    cut = cut_spectrum(weight)
    assert (cut.rank, cut.rule) == (40, "cliff") and cut.cliff_ratio == pytest.approx(10, rel=0.01)
    assert cut.low <= 40 <= cut.high


def test_a_cliff_behind_the_class_means_counts_no_images():
    weight = noisy(3, 60, 0, (200, 120))
    assert cut_spectrum(weight).rule == "cliff"
    cut = cut_spectrum(weight, 3)
    assert (cut.rank, cut.rule) == (3, "noise_edge")
    assert cut_spectrum(weight, 2).rule == "cliff"


@pytest.mark.parametrize("uniform", [False, True], ids=["normal", "uniform"])
def test_random_matrices_show_no_signal(uniform):
    """Measured false signals: about 3.5 % of layers this small (21 of 600), 0 of 40 at 300 × 500.

    The edge has 3 % of slack and the noise level is read off few directions, so small layers fluctuate beyond it.
    Hundred layers of three shapes each: more than 22 of 300 at that rate have probability 5e-4. What
    is seen falsely is a few directions without a cliff, never a count of training images.
    """
    false = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        for shape in ((200, 64), (100, 100), (80, 192)):
            draw = torch.rand(shape, generator=generator) - 0.5 if uniform else torch.randn(shape, generator=generator)
            cut = cut_spectrum(draw)
            assert not cut.has_cliff
            if cut.rule != "none":
                false += 1
                assert cut.rank <= 3
    assert false <= 22
    large = [cut_spectrum(torch.randn(300, 500, generator=torch.Generator().manual_seed(s))) for s in range(10)]
    assert [cut.rule for cut in large] == ["none"] * 10


def test_a_matrix_without_noise_is_signal_throughout():
    generator = torch.Generator().manual_seed(0)
    cut = cut_spectrum(torch.randn(6, 5, generator=generator))
    assert cut.rule == "full" and cut.rank == cut.low == cut.high == 5


def test_scale_does_not_matter():
    weight = noisy(10, 3, 0, (100, 80))
    one, other = cut_spectrum(weight), cut_spectrum(1e-4 * weight)
    assert (one.rank, one.rule, one.low, one.high) == (other.rank, other.rule, other.low, other.high)


def test_the_smooth_basis_is_orthonormal_inside_the_row_space_and_smooth_first():
    shape = (1, 8, 8)
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    space = smooth_span(weight, 10, target_of(mlp((64, 4, 3)), shape), torch.full((1, 1, 1), 0.5))
    torch.testing.assert_close(space.decoder @ space.decoder.T, torch.eye(10), atol=1e-5, rtol=0)
    leading = torch.linalg.svd(weight)[2][:10]
    torch.testing.assert_close(space.decoder @ leading.T @ leading, space.decoder, atol=1e-5, rtol=0)
    form = roughness_form(space.decoder, shape)
    torch.testing.assert_close(form, torch.diag(form.diagonal()), atol=1e-4, rtol=0)
    assert bool((form.diagonal().diff() > 0).all()) and bool((space.scale.diff() < 0).all())
    images = space.decoder.view(10, 8, 8)
    by_hand = images.diff(dim=1).square().sum((1, 2)) + images.diff(dim=2).square().sum((1, 2))
    torch.testing.assert_close(form.diagonal(), by_hand, rtol=1e-4, atol=1e-4)


def test_whitened_draws_have_the_pixel_deviation_of_natural_images():
    shape, std = (1, 8, 8), torch.full((1, 1, 1), 0.5)
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    space = smooth_span(weight, 12, target_of(mlp((64, 4, 3)), shape), std)
    drawn = space.draw(4000, torch.Generator().manual_seed(1))
    assert drawn.shape == (4000, 12)
    torch.testing.assert_close(drawn.T.cov(), torch.eye(12), atol=0.12, rtol=0)  # entries deviate by 0.016, 0.022
    pixels = space.inputs(drawn) * std
    assert float(pixels.square().mean().sqrt()) == pytest.approx(0.2, rel=0.05)
    assert torch.equal(drawn, space.draw(4000, torch.Generator().manual_seed(1)))


def test_pixel_space_is_every_image_and_draws_smooth_ones():
    std = torch.tensor([0.5, 0.25]).view(2, 1, 1)
    space = pixel_space((2, 16, 16), std)
    assert space.rank == 512
    images = space.inputs(torch.ones(3, 4, 512))
    assert images.shape == (3, 4, 2, 16, 16)
    torch.testing.assert_close(images * std, torch.full_like(images, 0.25))
    drawn = space.draw(500, torch.Generator().manual_seed(0)).view(500, 2, 16, 16)
    neighbours = drawn.diff(dim=-1).square().mean() / drawn.square().mean()
    assert float(neighbours) < 0.5  # independent pixels would give 2


def test_networks_made_of_modules_have_the_same_sites():
    names = [site.name for site in linear_sites(target_of(as_modules(mlp())))]
    assert names == ["1", "3", "5"]
