"""The statistics and their combination against slow and obvious forms, and on networks trained on shipped pictures."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from sklearn.datasets import load_digits
from torch import Tensor, nn

from privaudit.adapters.interface import AttackTarget
from privaudit.membership import membership_test, read_membership, rectified_sites
from privaudit.membership.combination import LEAST_CONTROLS, Part, combined_distance, log_p_values
from privaudit.membership.exposure import Exposure
from privaudit.membership.parts import (
    cosine_basis,
    kink_excess,
    natural_variance,
    to_frequencies,
    whitened_distance,
)
from privaudit.membership.reading import MULTIPLIERS
from privaudit.membership.rectified import channel_kink_excess, n_with_channels
from privaudit.membership.table import operating_points
from privaudit.networks import ReluMlp, linear_layer
from privaudit.planted import one_thread, plant
from privaudit.spans import LinearSite, cut_spectrum, linear_sites
from privaudit.training import TrainingSettings, train, untrained_tensors

SHAPE = (3, 4, 5)


def site_of(weight: Tensor, bias: Tensor | None = None) -> LinearSite:
    return LinearSite("first", weight, bias, lambda inputs: inputs.flatten(1), True)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_frequencies_are_an_orthonormal_cosine_transform_of_channel_mean_and_rest():
    rows = random(7, 60).double()
    found = to_frequencies(rows, SHAPE)
    torch.testing.assert_close(found @ found.T, rows @ rows.T)
    grid = rows.reshape(7, *SHAPE).numpy()
    mean = dctn(grid.sum(1) / 3**0.5, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(np.abs(found.reshape(7, *SHAPE)[:, 0].numpy()), np.abs(mean), atol=1e-12)
    torch.testing.assert_close(cosine_basis(6) @ cosine_basis(6).T, torch.eye(6, dtype=torch.float64))


def test_the_prior_favours_smooth_and_grey():
    prior = natural_variance(SHAPE).reshape(SHAPE)
    assert float(prior.sum()) == pytest.approx(1)
    assert prior[0, 0, 0] == prior.max() and prior[2, -1, -1] == prior.min() > 0
    assert float(prior[1, 2, 3] / prior[0, 2, 3]) == pytest.approx(0.3)
    assert natural_variance((1, 4, 5)).shape == (20,)


def test_the_whitened_distance_equals_its_dense_form():
    """Covariance, square root and weights written out in pixel space."""
    weight, inputs = random(12, 60).float(), random(9, *SHAPE, seed=1)
    basis = to_frequencies(torch.eye(60, dtype=torch.float64), SHAPE).numpy()  # pixels to frequencies
    w = weight.double().numpy()
    edges = np.linspace(60**0.5 - 12**0.5, 60**0.5 + 12**0.5, 2001)[1:-1]
    total = (60**0.5 + 12**0.5) ** 2, (60**0.5 - 12**0.5) ** 2
    mass = np.cumsum(np.sqrt(np.maximum((total[0] - edges**2) * (edges**2 - total[1]), 0)) / edges)
    quarter = np.interp(0.25 * mass[-1], mass, edges)
    sigma = np.quantile(np.linalg.svd(w)[1], 0.25) / quarter
    power = (w**2).sum() / 12
    strength = 10 * max(power - 60 * sigma**2, 1e-3 * power)
    covariance = basis @ np.diag(sigma**2 + strength * natural_variance(SHAPE).numpy()) @ basis.T
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    _, singular, span = np.linalg.svd(w @ root, full_matrices=False)
    left = np.quantile(singular, 0.25) / quarter
    kept = np.maximum(1 - 12 * left**2 / singular**2, 0)
    expected = []
    for image in inputs.flatten(1).double().numpy():
        white = root @ image
        inside = sum(k * (v @ white) ** 2 for k, v in zip(kept, span, strict=True))
        expected.append((1 - inside / (white @ white)) ** 0.5)
    np.testing.assert_allclose(whitened_distance(site_of(weight), inputs), expected, rtol=1e-8)


def test_the_kink_excess_equals_a_loop_over_neurons():
    weight, bias, inputs = random(15, 60), 0.01 * random(15), random(4, *SHAPE, seed=1)
    inputs[1] = 0  # says nothing
    expected = []
    for image in inputs.flatten(1).double():
        near = wide = 0.0
        for row, shift in zip(weight.double(), bias.double(), strict=True):
            scale = float(row.norm() * image.norm())
            a = abs(float(row @ image + shift)) / scale if scale else float("inf")
            near += 1 / (1 + (a / 3e-4) ** 2)
            wide += 1 / (1 + (a / 3e-3) ** 2)
        expected.append((near - wide / 10) / (wide / 10 + 1) ** 0.5)
    found = kink_excess(site_of(weight, bias), inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert found[1] == 0
    np.testing.assert_allclose(kink_excess(site_of(7 * weight, 7 * bias), inputs), expected, rtol=1e-5)


def slow_log_p(score: float, controls: np.ndarray) -> float:
    n, size = len(controls), max(5, len(controls) // 10)
    top = np.sort(controls)[::-1][:size]
    if score > top[-1]:
        return np.log(size / (n + 1)) - (score - top[-1]) / (top[:-1] - top[-1]).mean()
    return np.log(((controls >= score).sum() + 1) / (n + 1))


@pytest.mark.parametrize("n", [40, 101, 150])
def test_p_values_equal_a_loop_that_leaves_each_control_out(n):
    generator = np.random.default_rng(n)
    controls, others = generator.standard_t(3, n), generator.normal(2, 4, 30)
    found, own = log_p_values(controls, others)
    np.testing.assert_allclose(found, [slow_log_p(x, controls) for x in others])
    np.testing.assert_allclose(own, [slow_log_p(controls[i], np.delete(controls, i)) for i in range(n)])


def test_controls_that_are_all_alike_extrapolate_nothing():
    found, own = log_p_values(np.zeros(50), np.array([-1.0, 0.0, 5.0]))
    np.testing.assert_allclose(found, np.log([1, 1, 5 / 51]))
    np.testing.assert_allclose(own, 0)


def test_the_combination_is_the_quadratic_mean_of_log_p_values():
    generator = np.random.default_rng(0)
    parts = [Part(str(i), generator.normal(size=8) + 3 * i, generator.normal(size=60)) for i in range(3)]
    members, controls = combined_distance(parts)
    logs = np.array([log_p_values(part.controls, part.members)[0] for part in parts])
    np.testing.assert_allclose(members, np.exp(-np.sqrt((logs**2).mean(0))))
    assert members.shape == (8,) and controls.shape == (60,) and (controls > 0).all() and (controls <= 1).all()
    far = combined_distance([Part("far", np.array([1e9]), parts[0].controls)])[0]
    assert 0 < far[0] < 1e-290


@pytest.mark.parametrize("n", [LEAST_CONTROLS, 100, 500])
def test_exchangeable_images_pass_no_more_often_than_stated(n):
    """Members and controls of one distribution; three dependent parts with light, heavy and bounded tails.

    An image passes every control with probability 1 / (n + 1): of 1,500 draws of 20 images 30,000 / (n + 1) pass.
    Images of a draw share its controls, so the number has a standard deviation of at most `sqrt(1500 q (1 + 20 q)) ·
    1.5` with q = 20 / (n + 1) (measured); four of them are allowed: false-alarm rate below 1e-4.
    """
    generator, passed = np.random.default_rng(n), 0
    for _ in range(1500):
        common = generator.normal(size=n + 20)
        scores = common + generator.normal(size=n + 20), generator.standard_t(2, n + 20), np.tanh(common)
        members, controls = combined_distance([Part("", x[n:], x[:n]) for x in scores])
        passed += int((members < controls.min()).sum())
    expected = 20 / (n + 1) * 1500
    deviation = 1.5 * (expected * (1 + 20 / (n + 1))) ** 0.5
    assert 0 < passed <= expected + 4 * deviation


def test_operating_points_are_refused_with_the_number_of_controls_that_would_do():
    generator = np.random.default_rng(0)
    controls = generator.normal(size=500)
    one, tenth = operating_points(np.array([9.0, 9.0, -9.0, 0.0]), controls)
    assert (one.fpr, one.members_found, one.tpr, one.reason) == (0.01, 2, 0.5, "")
    assert 0.2 < one.interval_low < 2 < one.interval_high < 4
    assert (tenth.fpr, tenth.members_found, tenth.tpr) == (0.001, None, None)
    assert "1000 controls" in tenth.reason and "500" in tenth.reason
    assert operating_points(np.array([9.0]), generator.normal(size=1000))[1].tpr == 1


def target_of(tensors: dict[str, Tensor], shape: tuple[int, int, int]) -> AttackTarget:
    names = sorted(name for name in tensors if name.endswith("weight"))
    layers = [linear_layer(tensors[name], tensors.get(name.replace("weight", "bias"))) for name in names]
    return AttackTarget(ReluMlp(layers).eval(), "mlp", shape, len(tensors[names[-1]]), ())


def audited(tensors: dict[str, Tensor], members: Tensor, controls: Tensor, fpr: float = 0.01):
    target = target_of(tensors, tuple(members.shape[1:]))
    sites = linear_sites(target)
    rectified = rectified_sites(target.module, sites, members)
    assert [site.name for site in rectified] == ["layers.0", "layers.1"]
    return membership_test(sites[0], cut_spectrum(sites[0].weight), rectified, members, controls, fpr)


DIGITS = TrainingSettings((64, 200, 200, 100), "cross_entropy", 3e-3, 400)


@pytest.fixture(scope="module")
def digits():
    """Inputs, and a network with more training images than inputs: 100 digits of 64 pixels, each its own class."""
    pixels = torch.from_numpy(load_digits().images).float()[:, None] / 16
    inputs = pixels[:1200] - pixels[:100].mean(0)
    with one_thread():
        return inputs, train(inputs[:100], torch.arange(100), DIGITS).tensors


def test_more_images_than_inputs_are_read_by_their_kinks(digits):
    inputs, tensors = digits
    found = audited(tensors, inputs[:100], inputs[200:])
    by_name = {part.name: part.operating_points[0].members_found for part in found.parts}
    assert by_name["row space of layers.0"] < 40 < 60 < by_name["kinks of layers.0"]
    assert found.members_found > 50 and found.controls_found == 0 and found.p_value < 1e-20
    assert found.operating_points[1].tpr > 0.4
    full = cut_spectrum(tensors["layers.0.weight"])
    site = linear_sites(target_of(tensors, (1, 8, 8)))
    full = type(full)(full.singular_values, 64, 64, 64, 1.0, "full")
    kinks = membership_test(site[0], full, site[:2], inputs[:100], inputs[200:], 0.01)
    assert kinks.applicable and [part.name for part in kinks.parts] == ["kinks of layers.0", "kinks of layers.1"]
    assert "only kinks and multipliers are read" in kinks.reason and kinks.members_found > 50


def test_strangers_and_untrained_networks_are_not_readable(digits):
    """A stranger passes with probability 1 / 1001, so of 100 more than two pass in 2e-4 of the cases."""
    inputs, tensors = digits
    assert audited(tensors, inputs[100:200], inputs[200:]).members_found <= 2
    untrained = audited(untrained_tensors(DIGITS), inputs[:100], inputs[200:])
    assert not untrained.applicable and untrained.members_found == 0 and "random matrix" in untrained.reason


def test_pictures_learnt_by_heart_are_found_and_strangers_are_not():
    """scikit-image's faces; of 12 strangers and 188 controls more than one passes in 2e-3 of the cases."""
    planted = plant(12, 200, 1e-2, 60)
    tensors = planted.trained().tensors
    inputs = [
        torch.from_numpy(x)[:, None].float() / 255 - torch.from_numpy(planted.mean)
        for x in (planted.members, planted.controls)
    ]
    found = audited(tensors, *inputs)
    assert found.members_found == 12 and found.controls_found == 0
    stranger = planted.strangers()
    inputs = [
        torch.from_numpy(x)[:, None].float() / 255 - torch.from_numpy(planted.mean)
        for x in (stranger.members, stranger.controls)
    ]
    assert audited(tensors, *inputs).members_found <= 1
    assert not audited(planted.untrained(), *inputs).applicable


def test_only_layers_known_to_be_followed_by_a_relu_have_kinks():
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    target = AttackTarget(module.eval(), "file", (1, 2, 3), 3, ())
    assert [site.name for site in rectified_sites(module, linear_sites(target), random(1, 1, 2, 3))] == ["1"]


class Functions(nn.Module):
    """ReLUs as calls: behind a convolution, in place behind a sum, and behind the first linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(18, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.conv(inputs))
        hidden = (hidden + inputs).relu_()
        return self.second(nn.functional.relu(self.first(hidden.flatten(1)), inplace=True))


def test_relus_are_caught_wherever_they_are_called():
    module, inputs = Functions().eval().requires_grad_(False), random(4, 1, 2, 3)
    sites = linear_sites(AttackTarget(module, "file", (1, 2, 3), 2, ()))
    assert [site.name for site in rectified_sites(module, sites, inputs)] == ["first"]
    assert n_with_channels(module, inputs) == 2


def test_kinks_of_convolutions_equal_their_obvious_form():
    module, inputs = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU()), random(70, 1, 5, 6)
    module, inputs = module.double(), inputs.double()
    found = channel_kink_excess(module.eval().requires_grad_(False), inputs)
    for image in (0, 65):
        near = wide = 0.0
        first = module[0](inputs[image : image + 1])
        for hidden in (first, module[2](first.relu())):
            for channel in hidden[0].double():
                # 30 positions in the first layer are enough for a scale of their own, 12 in the second are not.
                size = (channel if channel.numel() >= 16 else hidden[0].double()).square().mean().sqrt()
                near += float((1 / (1 + (channel / size / 3e-4) ** 2)).sum())
                wide += float((1 / (1 + (channel / size / 3e-3) ** 2)).sum())
        assert found[image] == pytest.approx((near - wide / 10) / (wide / 10 + 1) ** 0.5, rel=1e-9)


def test_everything_is_read_from_a_network_of_any_kind(digits):
    inputs, tensors = digits
    target = target_of(tensors, (1, 8, 8))
    sites = linear_sites(target)
    table = read_membership(target, sites, cut_spectrum(sites[0].weight), inputs[:100], inputs[200:], 0.01)
    by_name = {part.name: part.operating_points[0].members_found for part in table.parts}
    assert by_name[MULTIPLIERS] > 90
    assert isinstance(table.exposure, Exposure) and table.exposure.explained_by_members > 0.5
    assert table.members_found > 50 and table.controls_found == 0
    quick = read_membership(target, sites, None, inputs[:100], inputs[200:], 0.01, with_multipliers=False)
    assert MULTIPLIERS not in {part.name for part in quick.parts} and "inspect" in str(quick.exposure)
    alone = read_membership(target, sites, None, inputs[:100], None, 0.01)
    assert alone.threshold is None and "Without controls" in str(alone.exposure)
