"""The equation of any module against the published double backward, in float64."""

import pytest
import torch
from attack_problems import (
    N_OUTPUTS,
    SHAPE,
    PublishedRelu,
    as_modules,
    convnet,
    knowledge,
    mlp,
    per_sample_sum,
    relative_error,
    span_space,
    with_relu,
)
from torch import nn

from privaudit.objectives.gradient_sum import ReluMlpSum
from privaudit.objectives.module_equation import ModuleEquation, ModuleSum, SmoothedRelu, refusal, smoothed
from privaudit.objectives.multipliers import MULTIPLIERS
from privaudit.objectives.span_equation import SpanEquation
from privaudit.spans import pixel_space

ALPHA = 100.0
TOLERANCE = 1e-10
NETWORKS = {"mlp": (lambda: as_modules(mlp()), SHAPE), "convnet": (convnet, (1, 8, 8))}


def equation_for(name: str, kind: str = "general_loss", m: int = 7, chunk: int = 64) -> ModuleEquation:
    build, shape = NETWORKS[name]
    space = pixel_space(shape, torch.full((1, 1, 1), 0.5))
    return ModuleEquation(kind, build(), N_OUTPUTS, space, knowledge(shape), m, torch.float64, chunk)


def leaves_of(equation: ModuleEquation, n_restarts: int = 2, seed: int = 5):
    variables = equation.start(n_restarts, torch.Generator().manual_seed(seed))
    for name in equation.learning_rates:
        variables[name].requires_grad_()
    return variables


def gradients_of(equation: ModuleEquation, variables) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = equation.loss(variables, 0, 0.0)
    names = list(equation.learning_rates)
    found = torch.autograd.grad(loss.sum(), [variables[name] for name in names])
    return loss.detach(), dict(zip(names, found, strict=True))


def reference_loss(name: str, equation: ModuleEquation, variables, kind: str) -> torch.Tensor:
    """Relative residual by parameter: min‖W‖²/‖W‖² for weights, a tenth of that for their bias; plus the prior."""
    build, shape = NETWORKS[name]
    network = with_relu(build(), PublishedRelu, ALPHA)
    weights = {key: value.detach() for key, value in network.named_parameters()}
    sizes = {key: (value**2).sum() for key, value in weights.items()}
    smallest = min(size for key, size in sizes.items() if key.endswith("weight"))
    losses = []
    for restart, coordinates in enumerate(variables["coordinates"]):
        inputs = (coordinates * equation.space.scale.double()).view(-1, *shape)
        own = {key: value[restart : restart + 1] for key, value in variables.items()}
        coefficients = MULTIPLIERS[kind](N_OUTPUTS).coefficients(own, network(inputs)[None]) * own["unit"]
        total = per_sample_sum(network, inputs, coefficients[0])
        loss = torch.zeros((), dtype=torch.float64)
        for key, weight in weights.items():
            share = smallest / sizes[key.replace("bias", "weight")] * (0.1 if key.endswith("bias") else 1)
            loss = loss + share * ((weight - total[key]) ** 2).sum() / sizes[key]
        pixels = knowledge(shape).pixels(inputs)
        across = ((pixels[..., 1:] - pixels[..., :-1]) ** 2).mean((1, 2, 3))
        down = ((pixels[..., 1:, :] - pixels[..., :-1, :]) ** 2).mean((1, 2, 3))
        beyond = ((pixels - pixels.clamp(0, 1)) ** 2).sum((1, 2, 3))
        losses.append(loss + (0.1 * (across + down) + 1e-4 * beyond).mean())
    return torch.stack(losses)


@pytest.mark.parametrize("kind", MULTIPLIERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradients_are_those_of_the_published_double_backward(name, kind):
    equation = equation_for(name, kind)
    variables = leaves_of(equation)
    loss, found = gradients_of(equation, variables)
    slow = reference_loss(name, equation, variables, kind)
    assert relative_error(loss, slow) < TOLERANCE
    published = torch.autograd.grad(slow.sum(), [variables[key] for key in found])
    for key, expected in zip(found, published, strict=True):
        assert float(expected.norm()) > 1e-3
        assert relative_error(found[key], expected) < TOLERANCE, key


@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize("name", NETWORKS)
def test_chunks_change_nothing(name, chunk):
    whole, parts = equation_for(name, "multiclass_margin"), equation_for(name, "multiclass_margin", chunk=chunk)
    variables = leaves_of(whole)
    for one, other in zip(gradients_of(whole, variables), gradients_of(parts, variables), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(whole.residual(variables), parts.residual(variables), rtol=1e-11, atol=1e-13)


def test_agrees_with_the_sum_of_an_mlp():
    """Loss, explained share and multipliers' gradient at any smoothing; the images' where no gate is smooth."""
    network, space = mlp(), span_space(dtype=torch.float64)
    fast = SpanEquation("general_loss", network, space, knowledge(), 6, torch.float64)
    slow = ModuleEquation("general_loss", as_modules(network), N_OUTPUTS, space, knowledge(), 6, torch.float64, 4)
    variables = fast.start(2, torch.Generator().manual_seed(0))
    # The first layer's part outside the span is left to neither: remove it, so that both see the same weights.
    with torch.no_grad():
        first = network.linear_layers()[0].weight
        first.copy_((first.double() @ space.decoder.T @ space.decoder).float())
    fast = SpanEquation("general_loss", network, space, knowledge(), 6, torch.float64)
    slow = ModuleEquation("general_loss", as_modules(network), N_OUTPUTS, space, knowledge(), 6, torch.float64, 4)
    for one, other in zip(fast.residual(variables), slow.residual(variables), strict=True):
        assert relative_error(one, other) < 1e-6  # float32 weights are not exactly in the span
    torch.testing.assert_close(fast.multipliers(variables), slow.multipliers(variables), rtol=1e-6, atol=1e-9)
    starts = [one.start(1, torch.Generator().manual_seed(1)) for one in (fast, slow)]
    torch.testing.assert_close(starts[0]["unit"], starts[1]["unit"], rtol=1e-6, atol=0)


def test_image_gradients_agree_with_the_sum_of_an_mlp_where_the_gates_are_sharp():
    network = mlp(biases=(True, True, True)).double()
    space = pixel_space(SHAPE, torch.ones(1, 1, 1))
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1, 5, 20, generator=generator, dtype=torch.float64).requires_grad_()
    coefficients = torch.randn(1, 5, N_OUTPUTS, generator=generator, dtype=torch.float64).requires_grad_()
    fast = ReluMlpSum(network, space, torch.float64)
    run = fast.forward(points)
    loss = fast.loss(run, fast.back_signals(run, coefficients, 1e9))
    expected = torch.autograd.grad(loss.sum(), [points, coefficients])
    slow = ModuleSum(network, torch.float64, chunk=2)  # ReluMlp calls torch.relu, whose derivative stays sharp
    inputs = points.detach()[0].view(-1, *SHAPE)
    residual = slow.gradient_sum(inputs, lambda place, _: coefficients[0, place])
    assert relative_error(slow.loss(residual), loss) < TOLERANCE
    explained = fast.explained(run, fast.back_signals(run, coefficients, 1e9))
    assert relative_error(slow.explained(residual), explained) < TOLERANCE
    for one, other in zip(slow.gradients(inputs, residual), expected, strict=True):
        assert relative_error(one.flatten(), other.flatten()) < TOLERANCE


def test_smoothed_relu_is_relu_with_a_sigmoid_for_its_derivative_in_both_modes():
    module = SmoothedRelu(ALPHA)
    hidden = torch.tensor([-3.0, -0.02, -1e-4, 0.0, 1e-4, 0.02, 3.0], dtype=torch.float64, requires_grad=True)
    value, forward = torch.func.jvp(module, (hidden,), (torch.ones_like(hidden),))
    (reverse,) = torch.autograd.grad(module(hidden).sum(), hidden, create_graph=True)
    torch.testing.assert_close(value, hidden.relu(), rtol=1e-14, atol=1e-16)
    gate = torch.sigmoid(ALPHA * hidden)
    torch.testing.assert_close(forward, gate, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(reverse, gate, rtol=1e-12, atol=1e-15)
    (second,) = torch.autograd.grad(forward.sum(), hidden)
    torch.testing.assert_close(second, ALPHA * gate * (1 - gate), rtol=1e-10, atol=1e-12)
    assert torch.isfinite(module(torch.tensor([1e6, -1e6]))).all()


def test_every_relu_module_is_replaced_in_a_copy_and_no_other():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.ReLU(inplace=True)
            self.same = self.one
            self.leaky = nn.LeakyReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.leaky(self.same(self.one(x)))

    network = nn.Sequential(Twice(), nn.ReLU())
    copied = smoothed(network, ALPHA)
    kinds = [type(module) for module in copied.modules()]
    assert nn.ReLU not in kinds and nn.LeakyReLU in kinds
    assert type(copied[0].same) is SmoothedRelu and type(copied[0].one) is SmoothedRelu
    assert sum(isinstance(module, nn.ReLU) for module in network.modules()) == 2
    assert isinstance(smoothed(nn.ReLU(), ALPHA), SmoothedRelu)


def test_normalisation_layers_and_zero_parameters_are_weighed_finitely():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)).eval()
    whole = ModuleSum(network, torch.float64)
    assert "1.bias" not in whole.importance  # zeros: nothing relative can be said
    assert set(whole.importance) == {"0.weight", "0.bias", "1.weight", "4.weight", "4.bias"}
    assert max(whole.importance.values()) == 1.0 and min(whole.importance.values()) > 0
    assert whole.importance["4.bias"] == pytest.approx(0.1 * whole.importance["4.weight"])


def test_a_network_without_a_forward_derivative_is_refused_in_one_sentence():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(20, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Once.apply(self.inner(x.flatten(1)))

    assert refusal(as_modules(mlp()), SHAPE) == ""
    text = refusal(Net(), SHAPE)
    assert text and "\n" not in text and len(text) < 140
    assert refusal(nn.Flatten(), SHAPE) == "it has no parameters."
