"""The fast sum of gradients against a per-sample loop with double backward, in float64."""

import pytest
import torch
from attack_problems import (
    N_OUTPUTS,
    SHAPE,
    GatedRelu,
    PublishedRelu,
    as_modules,
    mlp,
    per_sample_sum,
    relative_error,
    span_space,
    with_relu,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.networks import ReluMlp
from privaudit.objectives.gradient_sum import ReluMlpSum
from privaudit.spans import SearchSpace

ALPHA = 20.0  # small, so that the smoothing matters
TOLERANCE = 1e-10
WIDE = (20, 9, 7, N_OUTPUTS)
BIASES = {"everywhere": (True, True, True), "first": (True, False, False), "nowhere": (False, False, False)}


def problem(m: int, seed: int = 0, rank: int = 6, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(1, m, rank, generator=generator, dtype=dtype)
    multipliers = 0.3 * torch.randn(1, m, N_OUTPUTS, generator=generator, dtype=dtype)
    return points.requires_grad_(), multipliers.requires_grad_()


def fast_loss(whole: ReluMlpSum, points: torch.Tensor, multipliers: torch.Tensor, alpha: float = ALPHA) -> torch.Tensor:
    run = whole.forward(points)
    return whole.loss(run, whole.back_signals(run, multipliers, alpha))


def reference_loss(network: ReluMlp, space: SearchSpace, function, points, multipliers, alpha: float = ALPHA):
    """Σ over layers of min‖W‖²/‖W_l‖² (‖residual‖²/‖W_l‖² + 0.1 ‖bias residual‖²/‖b_l‖²), in the span's coordinates."""
    reference = with_relu(as_modules(network), function, alpha)
    inputs = (points[0] @ space.decoder.double()).view(-1, *space.shape)
    total = per_sample_sum(reference, inputs, multipliers[0])
    weights = {name: value.detach() for name, value in reference.named_parameters()}
    first = next(iter(weights))
    for values in (weights, total):
        values[first] = values[first] @ space.decoder.double().T
    matrices = [name for name in weights if name.endswith("weight")]
    smallest = min(float((weights[name] ** 2).sum()) for name in matrices)
    loss = torch.zeros((), dtype=torch.float64)
    for name in matrices:
        size = (weights[name] ** 2).sum()
        loss = loss + smallest / size * ((weights[name] - total[name]) ** 2).sum() / size
        bias = name.replace("weight", "bias")
        if bias in weights:
            loss = (
                loss + smallest / size * 0.1 * ((weights[bias] - total[bias]) ** 2).sum() / (weights[bias] ** 2).sum()
            )
    return loss


def gradients(loss: torch.Tensor, *leaves: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss.sum(), leaves))


@pytest.mark.parametrize("biases", BIASES.values(), ids=BIASES)
@pytest.mark.parametrize("m", [2, 40], ids=["gram", "dense"])
def test_loss_and_gradients_agree_with_the_double_backward(m, biases, monkeypatch):
    network, space = mlp(WIDE, biases), span_space(dtype=torch.float64)
    whole = ReluMlpSum(network, space, torch.float64)
    points, multipliers = problem(m)
    branches = [m * sum(layer.weight.shape) < layer.weight.numel() for layer in whole.layers]
    assert any(branches) == (m == 2)
    fast = fast_loss(whole, points, multipliers)
    slow = reference_loss(network, space, GatedRelu, points, multipliers)
    assert relative_error(fast, slow) < TOLERANCE
    fast_gradients = gradients(fast, points, multipliers)
    monkeypatch.setattr(GatedRelu, "is_outer", True)
    for one, other in zip(fast_gradients, gradients(slow, points, multipliers), strict=True):
        assert relative_error(one, other) < TOLERANCE


def test_the_published_double_backward_also_smooths_the_way_to_the_images():
    """A deliberate deviation: here the images' gradient is that of the loss, there ReLU's derivative is smooth too."""
    network, space = mlp(WIDE), span_space(dtype=torch.float64)
    points, multipliers = problem(8)
    fast = fast_loss(ReluMlpSum(network, space, torch.float64), points, multipliers)
    slow = reference_loss(network, space, PublishedRelu, points, multipliers)
    assert relative_error(fast, slow) < TOLERANCE
    (for_points, for_multipliers), (published_points, published_multipliers) = (
        gradients(loss, points, multipliers) for loss in (fast, slow)
    )
    assert relative_error(for_multipliers, published_multipliers) < TOLERANCE
    assert 1e-6 < relative_error(for_points, published_points) < 0.5


def low_rank_network() -> ReluMlp:
    network = mlp((20, 40, 40, N_OUTPUTS))
    with torch.no_grad():
        middle = network.linear_layers()[1].weight
        left, singular, right = torch.linalg.svd(middle)
        singular[4:] = 0
        middle.copy_(left @ torch.diag(singular) @ right)
    return network


def test_thin_factors_change_nothing_where_a_layer_has_low_rank():
    network, space = low_rank_network(), span_space(dtype=torch.float64)
    whole = ReluMlpSum(network, space, torch.float64)
    assert whole.layers[1].factors is not None and whole.layers[0].factors is None
    points, multipliers = problem(5)
    fast = fast_loss(whole, points, multipliers)
    slow = reference_loss(network, space, PublishedRelu, points, multipliers)
    assert relative_error(fast, slow) < 1e-5  # the low-rank form may drop 3e-6 of the layer's energy
    # and with the float32 weights' own rounding removed by using the factors' product as the reference, exactly
    p, q = whole.layers[1].factors
    network = network.double()
    with torch.no_grad():
        network.linear_layers()[1].weight.copy_(p @ q)
    slow = reference_loss(network, space, PublishedRelu, points, multipliers)
    assert relative_error(fast, slow) < 1e-8
    assert relative_error(*(gradients(loss, multipliers)[0] for loss in (fast, slow))) < 1e-8


@pytest.mark.parametrize("m", [2, 40], ids=["gram", "dense"])
def test_gradients_agree_with_finite_differences(m):
    network, space = mlp(WIDE, BIASES["everywhere"]), span_space(dtype=torch.float64)
    whole = ReluMlpSum(network, space, torch.float64)
    points, multipliers = problem(m, seed=1)
    exact = gradients(fast_loss(whole, points, multipliers), points, multipliers)
    generator = torch.Generator().manual_seed(2)
    for index, gradient in enumerate(exact):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        losses = []
        for sign in (1, -1):
            moved = [x.detach().clone() for x in (points, multipliers)]
            moved[index] += sign * 1e-6 * direction
            losses.append(float(fast_loss(whole, *moved)))
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(7)), st.integers(0, 10_000))
def test_permuting_candidates_permutes_gradients_and_keeps_the_loss(order, seed):
    whole = ReluMlpSum(mlp(WIDE), span_space(dtype=torch.float64), torch.float64)
    points, multipliers = problem(7, seed)
    loss = fast_loss(whole, points, multipliers)
    for_points, for_multipliers = gradients(loss, points, multipliers)
    permuted = [x.detach()[:, order].requires_grad_() for x in (points, multipliers)]
    again = fast_loss(whole, *permuted)
    torch.testing.assert_close(again, loss, rtol=1e-12, atol=0)
    for one, other in zip(gradients(again, *permuted), (for_points, for_multipliers), strict=True):
        torch.testing.assert_close(one, other[:, order], rtol=1e-10, atol=1e-12)


def test_restarts_do_not_touch_each_other():
    whole = ReluMlpSum(mlp(WIDE), span_space(dtype=torch.float64), torch.float64)
    parts = [problem(6, seed) for seed in range(3)]
    together = fast_loss(whole, *(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    alone = torch.cat([fast_loss(whole, *part) for part in parts])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    assert len(set(together.tolist())) == 3


def test_a_sum_that_is_the_network_leaves_nothing():
    """Weights that are a sum of gradients: residual 0, everything explained."""
    space = span_space(dtype=torch.float64)
    points, multipliers = (tensor.detach() for tensor in problem(4))
    network = ReluMlp([torch.nn.Linear(20, N_OUTPUTS, bias=False)]).double()
    with torch.no_grad():
        network.linear_layers()[0].weight.copy_(multipliers[0].T @ (points[0] @ space.decoder))
    whole = ReluMlpSum(network, space, torch.float64)
    run = whole.forward(points)
    signals = whole.back_signals(run, multipliers, ALPHA)
    assert float(whole.loss(run, signals).detach()) == pytest.approx(0, abs=1e-12)
    assert float(whole.explained(run, signals)) == pytest.approx(1, abs=1e-12)
    assert float(whole.loss(run, whole.back_signals(run, 0 * multipliers, ALPHA))) == pytest.approx(1)


def test_unit_multiplier_makes_the_sum_as_large_as_the_weights():
    whole = ReluMlpSum(mlp(WIDE), span_space(dtype=torch.float64), torch.float64)
    points, multipliers = problem(6)
    unit = whole.unit_multiplier(points, multipliers, ALPHA)
    assert unit.shape == (1, 1, 1)
    scaled = unit * multipliers
    torch.testing.assert_close(whole.unit_multiplier(points, scaled, ALPHA), torch.ones_like(unit))
    assert SHAPE[1] * SHAPE[2] == WIDE[0]
