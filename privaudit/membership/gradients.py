"""Per-image gradients as a linear map that is applied and never stored: multipliers to weights, and back.

In: a network and images held. Out: the multipliers that explain the weights best. For any module the map is applied by
`combine`, the weighted sum of the images' gradients (reverse mode), and `project`, the gradients' products with a
direction in the space of the weights (forward mode), in chunks of images. The gradient
of an image is that of its own margin: of the loss nothing but its direction at the predicted label enters, so no labels
are needed. Must not know which images are members.

Every parameter is divided by its norm times the square root of its importance, so that a direction is measured
relative to each weight, as in the multiplier equation (METHOD 3).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse.linalg import LinearOperator, lsqr
from torch import Tensor, nn

from privaudit.derivatives import along, summed_gradient
from privaudit.networks import ReluMlp
from privaudit.objectives.loss_ties import LOSS_TIES
from privaudit.objectives.module_equation import parameter_importance

_CHUNK = 64  # images at once
DAMPING = 0.1
"""δ where the images' gradients differ: from 0.001 to 0.1 nothing changes (benchmarks/RESULTS.md)."""

HEAD_DAMPING = 10.0
"""δ for a last layer alone, whose gradients are nearly parallel within a class: features collapse to class means."""

_NORM_PROBES = 8  # random directions that measure the mean norm of a gradient
_MOST_IMAGES = 4000  # whose Gram matrix is kept: 128 MB


@dataclass(frozen=True)
class Fit:
    """Multipliers that explain the weights best, under a damping.

    Attributes:
        multipliers: one an image, in units of a typical gradient.
        explained: share of the squared scaled weights that the sum explains, at most 1.
        iterations: done; 0 where the problem was solved directly.
    """

    multipliers: NDArray[np.float64]
    explained: float
    iterations: int


class AbstractGradients(ABC):
    """Gradients `g_i` of n images in the scaled weights of p numbers."""

    n_images: int
    damping: float = DAMPING

    @abstractmethod
    def fit(self, chosen: NDArray[np.bool_], iterations: int, on_step: Callable[[], None] = lambda: None) -> Fit:
        """`min_c ‖θ − Σ c_i g_i / s‖² + δ ‖c‖²` over the chosen images, s² the mean squared norm of all gradients.

        Args:
            chosen: (n,).
            iterations: at most.
            on_step: called after each.
        """


def margin_directions(outputs: Tensor) -> Tensor:
    """(n, K) outputs to (n, K) unit directions in which the loss at the predicted label pushes them."""
    tie = LOSS_TIES["cross_entropy" if outputs.shape[1] > 1 else "logistic"]
    return nn.functional.normalize(tie.direction(outputs, tie.label(outputs)), dim=1)


def gradients_of(module: nn.Module, inputs: Tensor) -> AbstractGradients:
    """The fast path for linear chains, otherwise that of any module.

    Args:
        module: inputs (N, C, H, W) to outputs (N, K).
        inputs: of the images, on the module's device.
    """
    if isinstance(module, ReluMlp) and len(inputs) <= _MOST_IMAGES:
        return ChainGradients(module, inputs)
    return ModuleGradients(module, inputs)


def head_gradients(module: nn.Module, inputs: Tensor) -> "ChainGradients | None":
    """Of the last linear layer alone, at the features that enter it; None where the outputs are not one layer's.

    Args:
        module: the whole network.
        inputs: (n, C, H, W).
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    seen: list[tuple[nn.Linear, Tensor, Tensor]] = []
    handles = [
        layer.register_forward_hook(lambda layer, entered, left: seen.append((layer, entered[0], left)))
        for layer in layers
    ]
    features = []
    try:
        with torch.no_grad():
            for part in torch.split(inputs, _CHUNK):
                seen.clear()
                outputs = module(part)
                if not seen or seen[-1][2] is not outputs:
                    return None
                features.append(seen[-1][1])
    finally:
        for handle in handles:
            handle.remove()
    head = ReluMlp([copy.deepcopy(seen[-1][0])])
    return ChainGradients(head, torch.cat(features), HEAD_DAMPING, with_biases=False)


class _ScaledParameters:
    """Parameters that are not zero, and their scale."""

    def __init__(self, module: nn.Module, with_biases: bool = True) -> None:
        kept = {name: value for name, value in module.named_parameters() if with_biases or value.ndim > 1}
        parameters = {name: value.detach() for name, value in kept.items()}
        norms = {name: float((value.double() ** 2).sum()) for name, value in parameters.items()}
        self.values = {name: value for name, value in parameters.items() if norms[name] > 0}
        importance = parameter_importance(self.values, norms)
        self.scales = {name: (importance[name] / norms[name]) ** 0.5 for name in self.values}

    def flat(self, tensors: dict[str, Tensor]) -> Tensor:
        """One vector of scaled numbers, float64."""
        return torch.cat([(self.scales[name] * tensors[name].double()).flatten() for name in self.values])

    def shaped(self, vector: Tensor) -> dict[str, Tensor]:
        """A direction in the scaled weights as the direction in the parameters that has the same products."""
        parts = torch.split(vector, [value.numel() for value in self.values.values()])
        return {
            name: (self.scales[name] * part).view(value.shape).to(value)
            for (name, value), part in zip(self.values.items(), parts, strict=True)
        }


class ModuleGradients(AbstractGradients):
    """Any module that torch can differentiate both ways, through `functional_call`."""

    def __init__(self, module: nn.Module, inputs: Tensor, chunk: int = _CHUNK) -> None:
        """Prepare.

        Args:
            module: in evaluation mode.
            inputs: (n, C, H, W).
            chunk: images that pass through at once.
        """
        self._module, self._inputs, self._chunk = module, inputs, chunk
        self._parameters = _ScaledParameters(module)
        self._norm: float | None = None
        self.n_images, self.target = len(inputs), self._parameters.flat(self._parameters.values)
        with torch.no_grad():
            self._directions = torch.cat([margin_directions(module(part)) for part in torch.split(inputs, chunk)])

    def fit(self, chosen: NDArray[np.bool_], iterations: int, on_step: Callable[[], None] = lambda: None) -> Fit:
        """LSQR (Paige & Saunders 1982): two products with the gradients an iteration."""
        norm, target, part = self._typical_norm(), self.target.cpu().numpy(), self._only(chosen)

        def combine(multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
            on_step()
            return part.combine(torch.from_numpy(multipliers.ravel() / norm).to(self.target)).cpu().numpy()

        def project(direction: NDArray[np.float64]) -> NDArray[np.float64]:
            return part.project(torch.from_numpy(direction.ravel()).to(self.target)).cpu().numpy() / norm

        operator = LinearOperator((len(target), part.n_images), combine, project, dtype=np.float64)
        solution = lsqr(operator, target, damp=self.damping**0.5, atol=0, btol=0, iter_lim=iterations)
        return Fit(solution[0], 1 - float((solution[3] / np.linalg.norm(target)) ** 2), int(solution[2]))

    def _only(self, chosen: NDArray[np.bool_]) -> "ModuleGradients":
        """The same network with the chosen images alone: the others are not passed through it."""
        part, mask = copy.copy(self), torch.from_numpy(chosen).to(self._inputs.device)
        part._inputs, part._directions = self._inputs[mask], self._directions[mask]
        part.n_images = len(part._inputs)
        return part

    def _parts(self, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Inputs and directions, and what else there is an image, in chunks."""
        every = (self._inputs, self._directions, *others)
        return zip(*(torch.split(one, self._chunk) for one in every), strict=True)

    def _typical_norm(self) -> float:
        """Root mean square of the gradients' norms, from products with random directions (Hutchinson 1990)."""
        if self._norm is None:
            generator = torch.Generator().manual_seed(0)
            size = len(self.target)
            probes = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(_NORM_PROBES))
            squares = torch.stack([self.project(probe.to(self.target)).square().mean() for probe in probes])
            self._norm = max(float(squares.mean().sqrt()), 1e-30)
        return self._norm

    def combine(self, multipliers: Tensor) -> Tensor:
        """(n,) to (p,): `Σ multiplier_i g_i`, one forward and one backward pass over all images."""
        total = {name: torch.zeros_like(value) for name, value in self._parameters.values.items()}
        for inputs, directions, part in self._parts(multipliers):
            fixed = part.to(directions)[:, None] * directions
            found, *_ = summed_gradient(self._module, self._parameters.values, inputs, fixed)
            for name, gradient in found.items():
                total[name] += gradient
        return self._parameters.flat(total)

    def project(self, direction: Tensor) -> Tensor:
        """(p,) to (n,): `⟨g_i, direction⟩`, one forward pass with tangents over all images."""
        tangent, weights = self._parameters.shaped(direction), self._parameters.values
        with torch.no_grad():
            found = [
                (directions * along(self._module, weights, tangent, inputs)).sum(1).double()
                for inputs, directions in self._parts()
            ]
        return torch.cat(found)


class ChainGradients(AbstractGradients):
    """Linear layers with ReLU between: all products of two gradients from Gram matrices, so nothing of size p is built.

    With activations H and back-signals B of a layer, `⟨g_i, g_j⟩ = (H Hᵀ)_ij (B Bᵀ)_ij` and `⟨g_i, W⟩` is the sum over
    `(H Wᵀ)_i B_i`; all in float64.
    """

    def __init__(self, network: ReluMlp, inputs: Tensor, damping: float = DAMPING, *, with_biases: bool = True) -> None:
        """Prepare.

        Args:
            network: the chain.
            inputs: (n, …), flattened into what the first layer takes.
            damping: δ.
            with_biases: whether these count among the weights; a last layer's say only how many images a class has.
        """
        self.damping = damping
        layers = network.linear_layers()
        hidden, pre = [inputs.flatten(1).double()], []
        for layer in layers:
            bias = 0.0 if layer.bias is None else layer.bias.detach().double()
            pre.append(hidden[-1] @ layer.weight.detach().double().T + bias)
            hidden.append(pre[-1].relu())
        signals = [margin_directions(pre[-1])]
        for layer, before in zip(layers[:0:-1], pre[-2::-1], strict=True):
            signals.append((signals[-1] @ layer.weight.detach().double()) * (before > 0))
        scaled = _ScaledParameters(network, with_biases)
        self.n_images, self.energy = len(inputs), float(scaled.flat(scaled.values).square().sum())
        self.gram = torch.zeros(len(inputs), len(inputs)).to(hidden[0])
        self.right = torch.zeros(len(inputs)).to(hidden[0])
        for name, value in scaled.values.items():
            index, scale = int(name.split(".")[1]), scaled.scales[name]
            back, ahead = signals[::-1][index], hidden[index]
            between = ahead @ ahead.T if value.ndim > 1 else 1.0
            self.gram += scale**2 * (back @ back.T) * between
            acting = ahead @ value.double().T if value.ndim > 1 else value.double()
            self.right += scale**2 * (acting * back).sum(1)

    def fit(self, chosen: NDArray[np.bool_], iterations: int, on_step: Callable[[], None] = lambda: None) -> Fit:
        """Directly, by the normal equations."""
        gram, right = self.gram.cpu().numpy(), self.right.cpu().numpy()
        square = max(float(np.diag(gram).mean()), 1e-30)
        gram, right = gram[np.ix_(chosen, chosen)] / square, right[chosen] / square**0.5
        multipliers = solve(gram + self.damping * np.eye(len(gram)), right, assume_a="pos")
        on_step()
        explained = (2 * multipliers @ right - multipliers @ gram @ multipliers) / self.energy
        return Fit(multipliers, float(explained), 0)
