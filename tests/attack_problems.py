"""Small networks, spaces and slow references that several tests share. Every number is generated."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from privaudit.adapters.interface import AttackTarget
from privaudit.networks import ReluMlp, frozen
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.spans import SearchSpace
from privaudit.training import TrainingSettings, train

SHAPE = (1, 5, 4)
N_OUTPUTS = 3


def knowledge(shape: tuple[int, int, int] = SHAPE, std: float = 0.5) -> AttackerKnowledge:
    """A mean image that is not constant, so that nothing can leave it out unnoticed."""
    generator = torch.Generator().manual_seed(99)
    return AttackerKnowledge(0.3 + 0.4 * torch.rand(shape, generator=generator), torch.full(shape, std), ())


def mlp(
    widths: tuple[int, ...] = (20, 9, 7, N_OUTPUTS), biases: tuple[bool, ...] | None = None, seed: int = 0
) -> ReluMlp:
    """A frozen network with normal weights of unequal sizes; a bias in the first layer unless told otherwise."""
    torch.manual_seed(seed)
    pairs = list(pairwise(widths))
    biases = biases or (True,) + (False,) * (len(pairs) - 1)
    layers = [nn.Linear(n_in, n_out, bias=bias) for (n_in, n_out), bias in zip(pairs, biases, strict=True)]
    network = ReluMlp(layers)
    frozen(network)
    with torch.no_grad():
        for index, layer in enumerate(layers):
            layer.weight.copy_(torch.randn_like(layer.weight) * (1 + index) / layer.in_features**0.5)
            if layer.bias is not None:
                layer.bias.copy_(0.3 * torch.randn_like(layer.bias))
    return network


def as_modules(network: ReluMlp) -> nn.Sequential:
    """The same network from `nn.ReLU` modules, whose derivative can be smoothed from outside."""
    modules: list[nn.Module] = [nn.Flatten()]
    for layer in network.linear_layers():
        modules += [layer, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def convnet(seed: int = 0, n_outputs: int = N_OUTPUTS) -> nn.Sequential:
    """Convolution, pooling and a linear layer on (1, 8, 8)."""
    torch.manual_seed(seed)
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2, bias=False), nn.ReLU())
    return frozen(nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, n_outputs)))  # type: ignore[return-value]


def target_of(module: nn.Module, shape: tuple[int, int, int] = SHAPE, n_outputs: int = N_OUTPUTS) -> AttackTarget:
    return AttackTarget(module, "test", shape, n_outputs, ())


def span_space(
    rank: int = 6, shape: tuple[int, int, int] = SHAPE, seed: int = 3, dtype: torch.dtype = torch.float32
) -> SearchSpace:
    """A random subspace with unequal scales."""
    generator = torch.Generator().manual_seed(seed)
    n_inputs = shape[0] * shape[1] * shape[2]
    decoder = torch.linalg.qr(torch.randn(n_inputs, rank, generator=generator, dtype=torch.float64))[0].T
    scale = torch.linspace(0.5, 1.5, rank, dtype=torch.float64)
    return SearchSpace(decoder.to(dtype).contiguous(), scale.to(dtype), shape)


class PublishedRelu(torch.autograd.Function):
    """ReLU as the published code has it: backward passes multiply by `sigmoid(alpha z)`, to any order."""

    @staticmethod
    def forward(ctx, hidden, alpha):
        ctx.save_for_backward(hidden)
        ctx.alpha = alpha
        return hidden.relu()

    @staticmethod
    def backward(ctx, gradient):
        (hidden,) = ctx.saved_tensors
        return gradient * torch.sigmoid(ctx.alpha * hidden), None


class GatedRelu(torch.autograd.Function):
    """`sigmoid(alpha z)` in the derivative for the weights, ReLU's own derivative in the one for the images.

    `is_outer` says which of the two backward passes of a double backward runs.
    """

    is_outer = False

    @staticmethod
    def forward(ctx, hidden, alpha):
        ctx.save_for_backward(hidden)
        ctx.alpha = alpha
        return hidden.relu()

    @staticmethod
    def backward(ctx, gradient):
        (hidden,) = ctx.saved_tensors
        if GatedRelu.is_outer:
            return gradient * (hidden > 0), None
        return gradient * torch.sigmoid(ctx.alpha * hidden), None


class FunctionRelu(nn.Module):
    """Either of the two as a module."""

    def __init__(self, function: type[torch.autograd.Function], alpha: float) -> None:
        super().__init__()
        self.function, self.alpha = function, alpha

    def forward(self, hidden: Tensor) -> Tensor:
        return self.function.apply(hidden, self.alpha)


def with_relu(network: nn.Sequential, function: type[torch.autograd.Function], alpha: float) -> nn.Sequential:
    """The network in float64 with its ReLUs replaced."""
    modules = [FunctionRelu(function, alpha) if isinstance(module, nn.ReLU) else module for module in network]
    return nn.Sequential(*modules).double()


def per_sample_sum(network: nn.Module, inputs: Tensor, coefficients: Tensor) -> dict[str, Tensor]:
    """`Σ c_ik ∇Φ_k(x_i)` by a loop over images and outputs, each with its own differentiable backward pass."""
    parameters = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for image, multipliers in zip(inputs, coefficients, strict=True):
        outputs = torch.func.functional_call(network, parameters, (image[None],))[0]
        for output, multiplier in zip(outputs, multipliers, strict=True):
            gradients = torch.autograd.grad(output, list(parameters.values()), create_graph=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                total[name] = total[name] + multiplier * gradient
    return total


def relative_error(one: Tensor, other: Tensor) -> float:
    return float((one.detach() - other.detach()).norm() / other.detach().norm())


@dataclass(frozen=True)
class TrainedProblem:
    """A network trained on smooth random images, and images it never saw.

    Attributes:
        network: trained with weight decay.
        members, controls: (n, 1, 8, 8) network inputs.
    """

    network: nn.Module
    target: AttackTarget
    knowledge: AttackerKnowledge
    members: Tensor
    controls: Tensor


def smooth_images(n: int, seed: int, side: int = 8) -> Tensor:
    """(n, 1, side, side) blobs in [0, 1]."""
    coarse = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False).clamp(0, 1)


def trained_problem(n_members: int = 8, widths: tuple[int, ...] = (64, 80, 40, 3), steps: int = 200) -> TrainedProblem:
    """Seconds of L-BFGS."""
    pixels = smooth_images(n_members + 60, 1)
    mean = pixels[:n_members].mean(0)
    inputs = pixels - mean
    settings = TrainingSettings(widths, "cross_entropy", 0.005, steps)
    tensors = train(inputs[:n_members], torch.arange(n_members) % widths[-1], settings).tensors
    network = mlp(widths)
    network.load_state_dict(tensors)
    shape = (1, 8, 8)
    known = AttackerKnowledge(mean, torch.ones(shape), ())
    target = target_of(network, shape, widths[-1])
    return TrainedProblem(network, target, known, inputs[:n_members], inputs[n_members:])


def trained_convnet(n_members: int = 8, steps: int = 300) -> TrainedProblem:
    """A convolution in front of two linear layers, trained with weight decay by L-BFGS: a second."""
    pixels = smooth_images(n_members + 60, 1)
    mean = pixels[:n_members].mean(0)
    inputs, labels = pixels - mean, torch.arange(n_members) % 3
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 40), nn.ReLU(), nn.Linear(40, 3, bias=False)
    )
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def regularised() -> Tensor:
        optimiser.zero_grad()
        decay = sum(parameter.square().sum() for parameter in network.parameters())
        loss = nn.functional.cross_entropy(network(inputs[:n_members]), labels) + 0.0025 * decay
        loss.backward()
        return loss

    optimiser.step(regularised)
    shape = (1, 8, 8)
    known = AttackerKnowledge(mean, torch.ones(shape), ())
    return TrainedProblem(frozen(network), target_of(network, shape, 3), known, inputs[:n_members], inputs[n_members:])
