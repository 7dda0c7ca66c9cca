"""The span's prior against the same penalties on decoded images."""

import pytest
import torch
from attack_problems import knowledge, span_space

from privaudit.objectives.prior import PixelPrior, SpanPrior, SparsePixelPrior

_STRIDES = 8
SHAPES = [(1, 5, 4), (3, 4, 6)]


@pytest.mark.parametrize("weights", [(1.0, 0.01), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_span_prior_averaged_over_all_strides_is_the_pixel_prior(shape, weights):
    """Mean of squared differences: horizontal and vertical pairs weigh as many as there are of each."""
    space, known = span_space(shape=shape, dtype=torch.float64), knowledge(shape, std=0.7)
    points = 2 * torch.randn(5, space.rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior = SpanPrior(space, known, *weights)
    averaged = torch.stack([prior.per_image(points, step) for step in range(_STRIDES)]).mean(0)
    pixels = known.pixels((points @ space.decoder).view(-1, *shape))
    across = ((pixels[..., 1:] - pixels[..., :-1]) ** 2).flatten(1)
    down = ((pixels[..., 1:, :] - pixels[..., :-1, :]) ** 2).flatten(1)
    pairs = (across.shape[1] + down.shape[1]) / 2
    variation = (across.sum(1) + down.sum(1)) / pairs
    beyond = ((pixels - pixels.clamp(0, 1)) ** 2).flatten(1).sum(1)
    assert float(beyond.min()) > 0
    torch.testing.assert_close(averaged, weights[0] * variation + weights[1] * beyond, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(prior.per_image(points, 3), prior.per_image(points, 3 + _STRIDES))


def test_the_two_priors_agree_on_square_images():
    shape = (2, 6, 6)
    space, known = span_space(shape=shape, dtype=torch.float64), knowledge(shape)
    points = torch.randn(4, space.rank, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    span, pixel = SpanPrior(space, known, 0.3, 0.2), PixelPrior(known, 0.3, 0.2)
    averaged = torch.stack([span.per_image(points, step) for step in range(_STRIDES)]).mean(0)
    decoded = (points @ space.decoder).view(-1, *shape)
    torch.testing.assert_close(averaged, pixel.per_image(decoded), rtol=1e-5, atol=1e-7)


def test_flat_images_inside_the_range_cost_nothing_and_each_fault_costs():
    shape = (1, 6, 6)
    known = knowledge(shape)
    prior = PixelPrior(known, 1.0, 1.0)

    def cost(pixels: torch.Tensor) -> float:
        return float(prior.per_image(((pixels - known.mean) / known.std)[None])[0])

    flat = torch.full(shape, 0.4)
    assert cost(flat) == pytest.approx(0, abs=1e-6)
    assert cost(flat + 1) == pytest.approx(36 * 0.4**2, rel=1e-3)
    assert cost(flat - 1) == pytest.approx(36 * 0.6**2, rel=1e-3)
    edge = flat.clone()
    edge[..., 3:] = 0.9
    assert cost(edge) == pytest.approx(0.25 * 6 / 30, rel=1e-3)


def test_the_sparse_prior_is_that_of_a_loop_over_pixels():
    shape = (2, 4, 5)
    known = knowledge(shape)
    inputs = torch.randn(1, *shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    pixels = known.pixels(inputs)[0].clamp(0, 1)
    inside = (pixels - known.mean) / known.std
    across = [
        (sum(float(pixels[c, i, j + 1] - pixels[c, i, j]) ** 2 for c in range(2)) + 0.02**2) ** 0.4
        for i in range(4)
        for j in range(4)
    ]
    down = [
        (sum(float(pixels[c, i + 1, j] - pixels[c, i, j]) ** 2 for c in range(2)) + 0.02**2) ** 0.4
        for i in range(3)
        for j in range(5)
    ]
    expected = 0.3 * (sum(across) / len(across) + sum(down) / len(down))
    assert float(SparsePixelPrior(known, 0.3, 1.0).per_image(inside[None])[0]) == pytest.approx(expected, rel=1e-6)


def test_the_sparse_prior_prefers_one_sharp_edge_to_a_ramp():
    known = knowledge((1, 6, 6))
    ramp = torch.linspace(0.2, 0.8, 6).expand(1, 6, 6)
    edge = torch.where(torch.arange(6) < 3, 0.2, 0.8).expand(1, 6, 6)
    squared, sparse = PixelPrior(known, 1.0, 0.0), SparsePixelPrior(known, 1.0, 0.0)
    cost = {
        p: [float(p.per_image(((x - known.mean) / known.std)[None])[0]) for x in (ramp, edge)]
        for p in (squared, sparse)
    }
    assert cost[squared][0] < cost[squared][1] and cost[sparse][0] > cost[sparse][1]
