"""Candidates in chunks against all at once, in float64, and against the published double backward."""

import sys
from pathlib import Path

import pytest
import torch
from attack_problems import N_OUTPUTS, SHAPE, as_modules, knowledge, mlp, relative_error, span_space, target_of
from torch.utils._python_dispatch import TorchDispatchMode

from privaudit.objectives import chunked
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.gradient_sum import ReluMlpSum
from privaudit.objectives.module_equation import ModuleSum
from privaudit.objectives.multipliers import MULTIPLIERS
from privaudit.objectives.span_equation import SpanEquation
from privaudit.solver import SolverSettings, minimise
from privaudit.spans import linear_sites, pixel_space

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from published_step import PublishedAttack, PublishedSettings, equation_loss

TOLERANCE = 1e-10
R, M = 2, 11
BIASES = {"everywhere": (True, True, True), "first": (True, False, False), "nowhere": (False, False, False)}
SPACES = {
    "span": lambda: span_space(dtype=torch.float64),
    "pixels": lambda: pixel_space(SHAPE, torch.full((1, 1, 1), 0.5)),
}


def limit_for(n_candidates: int, space, biases=BIASES["first"]) -> int:
    """Bytes that let just so many candidates of R restarts through at once."""
    whole = ReluMlpSum(mlp(biases=biases), space, torch.float64)
    one = chunked._COPIES * sum(sum(layer.weight.shape) for layer in whole.layers) * 8 * R
    assert chunked.chunk_size(whole, R, one * n_candidates) == n_candidates
    return one * n_candidates


def equations(name: str, space, size: int, biases=BIASES["first"]) -> tuple[SpanEquation, SpanEquation]:
    """All at once, and `size` candidates at a time."""
    limits = (chunked.MEMORY_LIMIT, limit_for(size, space, biases))
    return tuple(
        SpanEquation(name, mlp(biases=biases), space, knowledge(), M, torch.float64, limit) for limit in limits
    )


def gradients(equation: SpanEquation, variables, step: int = 3):
    wanted = {k: v.clone().requires_grad_(k in equation.learning_rates) for k, v in variables.items()}
    loss = equation.backward(wanted, step, 0.5)
    assert not loss.requires_grad
    return loss, [wanted[k].grad for k in equation.learning_rates]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", MULTIPLIERS)
@pytest.mark.parametrize("size", [1, 4, 10])
def test_chunks_give_the_same_start_loss_gradients_and_residual(name, space, size):
    at_once, in_chunks = equations(name, space(), size)
    starts = [equation.start(R, torch.Generator().manual_seed(0)) for equation in (at_once, in_chunks)]
    for key, value in starts[0].items():
        assert key == "labels" or relative_error(starts[1][key], value) < TOLERANCE, key
    (loss, exact), (same_loss, same) = (gradients(equation, starts[0]) for equation in (at_once, in_chunks))
    assert relative_error(same_loss, loss) < TOLERANCE
    assert len(exact) == len(same) == 2
    for one, other in zip(same, exact, strict=True):
        assert relative_error(one, other) < TOLERANCE
    for one, other in zip(in_chunks.residual(starts[0]), at_once.residual(starts[0]), strict=True):
        assert relative_error(one, other) < TOLERANCE
    assert relative_error(in_chunks.multipliers(starts[0]), at_once.multipliers(starts[0])) < TOLERANCE


@pytest.mark.parametrize("biases", BIASES.values(), ids=BIASES)
def test_chunks_hold_for_every_place_of_a_bias(biases):
    at_once, in_chunks = equations("general_loss", span_space(dtype=torch.float64), 3, biases)
    start = at_once.start(R, torch.Generator().manual_seed(1))
    (loss, exact), (same_loss, same) = (gradients(equation, start) for equation in (at_once, in_chunks))
    assert relative_error(same_loss, loss) < TOLERANCE
    assert max(relative_error(one, other) for one, other in zip(same, exact, strict=True)) < TOLERANCE


def test_a_whole_minimisation_in_chunks_ends_at_the_same_images():
    at_once, in_chunks = equations("general_loss", span_space(dtype=torch.float64), 4)
    start = at_once.start(R, torch.Generator().manual_seed(2))
    ends = [minimise(equation, start, SolverSettings(40)) for equation in (at_once, in_chunks)]
    assert float(ends[0].loss.mean()) < float(gradients(at_once, start)[0].mean())
    assert relative_error(ends[1].variables["coordinates"], ends[0].variables["coordinates"]) < 1e-7
    assert relative_error(ends[1].loss, ends[0].loss) < 1e-7


def test_problems_that_fit_take_the_path_without_chunks(monkeypatch):
    monkeypatch.setattr(chunked, "backward", None)
    monkeypatch.setattr(chunked, "left_of", None)
    at_once, _ = equations("general_loss", span_space(dtype=torch.float64), 4)
    start = at_once.start(R, torch.Generator().manual_seed(0))
    loss, found = gradients(at_once, start)
    leaves = {k: v.clone().requires_grad_(k in at_once.learning_rates) for k, v in start.items()}
    expected = at_once.loss(leaves, 3, 0.5)
    exact = torch.autograd.grad(expected.sum(), [leaves[k] for k in at_once.learning_rates])
    assert torch.equal(loss, expected.detach())
    assert all(torch.equal(one, other) for one, other in zip(found, exact, strict=True))


class _NoReading(TorchDispatchMode):
    """Fails where a value would have to travel from the device to Python."""

    forbidden = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.__name__.split(".")[0]
        assert name not in self.forbidden, name
        return function(*arguments, **(options or {}))


def objectives():
    space = span_space()
    at_once, in_chunks = equations("multiclass_margin", span_space(dtype=torch.float64), 4)
    search = FeatureSpan(linear_sites(target_of(as_modules(mlp())))[1], 3, space, knowledge(), M)
    return {"at once": at_once, "in chunks": in_chunks, "feature span": search}


@pytest.mark.parametrize("kind", ["at once", "in chunks", "feature span"])
def test_nothing_in_a_step_waits_for_the_device(kind):
    objective = objectives()[kind]
    variables = objective.start(R, torch.Generator().manual_seed(0))
    for name in objective.learning_rates:
        variables[name].requires_grad_()
    with _NoReading():
        with torch.no_grad():
            objective.project(variables, 0.1)
        objective.backward(variables, 1, 0.1)
    with pytest.raises(AssertionError), _NoReading():
        float(variables["coordinates"].detach().sum())


def published_problem(m: int = 6):
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(m, 20, generator=generator, dtype=torch.float64).requires_grad_()
    multipliers = (0.3 * torch.randn(m, N_OUTPUTS, generator=generator, dtype=torch.float64)).requires_grad_()
    network = mlp(biases=BIASES["everywhere"]).double()
    weights, biases = [[getattr(x, k).detach() for x in network.linear_layers()] for k in ("weight", "bias")]
    return network, weights, biases, images, multipliers


def relative_importance(weights, biases) -> list[tuple[float, float]]:
    """What `ReluMlpSum` and `ModuleSum` give to each layer's weight and bias."""
    norms = [float((w**2).sum()) for w in weights]
    factors = [min(norms) / norm for norm in norms]
    return [(f / n, 0.1 * f / float((b**2).sum())) for f, n, b in zip(factors, norms, biases, strict=True)]


def test_the_published_gradient_is_that_of_the_equation_without_a_double_backward():
    """Smoothed derivatives in every pass, as published: what `ModuleSum` computes in forward mode."""
    network, weights, biases, images, multipliers = published_problem()
    loss = equation_loss(weights, biases, images, multipliers, 20.0, relative_importance(weights, biases))
    published = torch.autograd.grad(loss, (images, multipliers))
    whole = ModuleSum(as_modules(network), torch.float64, 4, 20.0)
    left = whole.gradient_sum(images.detach().view(-1, *SHAPE), lambda place, _: multipliers.detach()[place])
    assert relative_error(whole.loss(left), loss) < TOLERANCE
    for one, other in zip(whole.gradients(images.view(-1, *SHAPE), left), published, strict=True):
        assert relative_error(one.flatten(1), other) < TOLERANCE


@pytest.mark.parametrize("m", [2, 40], ids=["gram", "dense"])
def test_the_published_gradient_is_that_of_the_fast_sum(m):
    """With a derivative as steep as ReLU's own; the fast sum smooths it on the way to the weights alone."""
    network, weights, biases, images, multipliers = published_problem(m)
    steep = 1e9
    loss = equation_loss(weights, biases, images, multipliers, steep, relative_importance(weights, biases))
    whole = ReluMlpSum(network, pixel_space(SHAPE, torch.ones(1, 1, 1)), torch.float64)
    run = whole.forward(images[None])
    fast = whole.loss(run, whole.back_signals(run, multipliers[None], steep))[0]
    assert relative_error(fast, loss) < TOLERANCE
    exact = torch.autograd.grad(loss, (images, multipliers))
    for one, other in zip(torch.autograd.grad(fast, (images, multipliers)), exact, strict=True):
        assert relative_error(one, other) < TOLERANCE


def test_the_published_optimiser_lowers_its_loss():
    _, weights, biases, _, _ = published_problem()
    attack = PublishedAttack(weights, biases, 8, PublishedSettings(rate=1e-5, multiplier_rate=1e-5))
    losses = [float(attack.step()) for _ in range(100)]
    assert losses[-1] < losses[0] and attack.images.dtype == torch.float64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("limit", [chunked.MEMORY_LIMIT, 20_000], ids=["at once", "in chunks"])
def test_a_step_on_a_gpu_does_not_wait_and_agrees_with_the_cpu(limit):
    space = span_space()
    there = type(space)(space.decoder.cuda(), space.scale.cuda(), space.shape)
    slow = SpanEquation("general_loss", mlp(), space, knowledge(), M, torch.float64, limit)
    fast = SpanEquation("general_loss", mlp().cuda(), there, knowledge(), M, torch.float64, limit)
    start = slow.start(R, torch.Generator().manual_seed(0))
    moved = {k: v.cuda() for k, v in start.items()}
    gradients(fast, moved)  # the first call may wait: libraries load
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss, found = gradients(fast, moved)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected, exact = gradients(slow, start)
    assert relative_error(loss.cpu(), expected) < 1e-6
    assert max(relative_error(one.cpu(), other) for one, other in zip(found, exact, strict=True)) < 1e-6
