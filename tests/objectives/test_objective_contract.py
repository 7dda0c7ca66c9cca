"""What the solver and the trials rely on, for every objective."""

import pytest
import torch
from attack_problems import N_OUTPUTS, SHAPE, as_modules, convnet, knowledge, mlp, span_space, target_of

from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.interface import AbstractObjective
from privaudit.objectives.loss_ties import LOSS_TIES
from privaudit.objectives.module_equation import ModuleEquation
from privaudit.objectives.multipliers import MULTIPLIERS
from privaudit.objectives.span_equation import SpanEquation
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.spans import linear_sites, pixel_space

M, R = 5, 3
SQUARE = (1, 8, 8)


def _pixels(shape):
    return pixel_space(shape, torch.full((1, 1, 1), 0.5))


def _feature_span(space) -> FeatureSpan:
    return FeatureSpan(linear_sites(target_of(as_modules(mlp())))[1], 3, space, knowledge(), M)


def _spanned(name: str, dtype: torch.dtype = torch.float32) -> SpanEquation:
    return SpanEquation(name, mlp(), span_space(), knowledge(), M, dtype)


def _module(name: str, space, network, shape, dtype: torch.dtype = torch.float32) -> ModuleEquation:
    return ModuleEquation(name, network, N_OUTPUTS, space, knowledge(shape), M, dtype, 2)


OBJECTIVES = {
    "feature span, pixels": lambda: _feature_span(_pixels(SHAPE)),
    "feature span, span": lambda: _feature_span(span_space()),
    **{f"span {name}": lambda name=name: _spanned(name) for name in MULTIPLIERS},
    **{f"module {name}": lambda name=name: _module(name, _pixels(SQUARE), convnet(), SQUARE) for name in MULTIPLIERS},
    "module, span": lambda: _module("general_loss", span_space(), as_modules(mlp()), SHAPE),
    "tied": lambda: TiedEquation(mlp(), span_space(), knowledge(), LOSS_TIES["cross_entropy"], 0.3, M),
    "span float64": lambda: _spanned("general_loss", torch.float64),
    "module float64": lambda: _module("general_loss", span_space(), as_modules(mlp()), SHAPE, torch.float64),
}


@pytest.fixture(params=OBJECTIVES.values(), ids=OBJECTIVES.keys())
def objective(request) -> AbstractObjective:
    return request.param()


def begun(objective: AbstractObjective, seed: int = 0):
    return objective.start(R, torch.Generator().manual_seed(seed))


def test_a_start_is_a_function_of_the_generator(objective):
    one, same, other = begun(objective), begun(objective), begun(objective, 1)
    assert one.keys() == same.keys()
    for name, value in one.items():
        assert len(value) == R, name
        assert torch.equal(value, same[name]), name
    assert not torch.equal(one["coordinates"], other["coordinates"])
    assert not torch.equal(one["coordinates"][0], one["coordinates"][1])


def test_losses_are_finite_one_a_restart_and_reach_every_variable_that_learns(objective):
    variables = begun(objective)
    for name in objective.learning_rates:
        variables[name].requires_grad_()
    loss = objective.loss(variables, 0, 0.0)
    assert loss.shape == (R,)
    assert bool(loss.isfinite().all())
    loss.sum().backward()
    for name in objective.learning_rates:
        gradient = variables[name].grad
        assert gradient is not None and bool(gradient.isfinite().all()), name
        assert bool((gradient.flatten(1).norm(dim=1) > 0).all()), name


def test_a_small_step_down_the_gradient_lowers_the_loss(objective):
    variables = begun(objective)
    names = list(objective.learning_rates)
    for name in names:
        variables[name].requires_grad_()
    before = objective.loss(variables, 0, 0.0)
    gradients = torch.autograd.grad(before.sum(), [variables[name] for name in names])
    size = sum(float((gradient**2).sum()) for gradient in gradients)
    with torch.no_grad():
        for name, gradient in zip(names, gradients, strict=True):
            variables[name] -= 1e-2 * float(before.mean()) / size * gradient
    assert float(objective.loss(variables, 0, 0.0).sum()) < float(before.sum())


def test_restarts_do_not_touch_each_other(objective):
    variables = begun(objective)
    before = objective.loss(variables, 0, 0.0).detach()
    with torch.no_grad():
        variables["coordinates"][1] = torch.nan
    after = objective.loss(variables, 0, 0.0).detach()
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]], rtol=1e-5, atol=1e-6)
    assert bool(after[1].isnan())


def test_images_multipliers_and_placebos_have_their_shapes(objective):
    variables = begun(objective)
    shape = objective.space.shape
    assert objective.inputs(variables).shape == (R, M, *shape)
    multipliers = objective.multipliers(variables)
    assert multipliers is None or multipliers.shape == (R, M, N_OUTPUTS)
    assert (multipliers is None) == isinstance(objective, FeatureSpan)
    drawn = objective.placebo(4, torch.Generator().manual_seed(0))
    assert drawn.shape == (4, *shape)
    assert torch.equal(drawn, objective.placebo(4, torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, objective.placebo(4, torch.Generator().manual_seed(1)))


def test_equations_start_with_a_sum_as_large_as_the_weights_and_take_a_warm_start(objective):
    if not isinstance(objective, AbstractEquation):
        assert objective.name in ("feature_span", "tied_equation")  # what these start from is not the weights' size
        return
    variables = begun(objective)
    loss, explained = objective.residual(variables)
    assert loss.shape == explained.shape == (R,)
    assert bool((explained <= 1).all()) and bool((loss > 0).all())
    coordinates = torch.randn(2, variables["coordinates"].shape[-1], generator=torch.Generator().manual_seed(4))
    size = 0.37
    multipliers = size * torch.nn.functional.one_hot(torch.tensor([0, 1]), N_OUTPUTS).float()
    objective.warm_start(variables, coordinates, multipliers)
    assert torch.equal(variables["coordinates"][:, :2].float(), coordinates.expand(R, -1, -1))
    assert float(variables["unit"].max()) == pytest.approx(size)
    found = objective.multipliers(variables)[:, :2]
    assert found.argmax(-1).tolist() == [[0, 1]] * R
    torch.testing.assert_close(found.amax(-1), torch.full((R, 2), size, dtype=found.dtype), rtol=1e-5, atol=1e-6)
