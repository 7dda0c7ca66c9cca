"""The multiplier equation of any torch module, without a double backward (METHOD 1, 2).

With `r` the importance-weighted residual `θ − Σ c_ik ∇Φ_k(x_i)`, held constant, the gradients of the squared residual
are `−2 t_ik` for `c_ik` and `−2 ∇_x Σ c_ik t_ik(x)` for the images, where `t_ik = ⟨r, ∇_θ Φ_k(x_i)⟩` is a derivative of
the outputs in the direction `r` of parameter space: forward mode over the parameters, reverse mode over the images.
Candidates pass through in chunks that add to `r`, so memory does not grow with their number.

Deviations from the published attack (arXiv 2206.07758, 2307.01827): those of `span_equation`, and no search inside a
span unless the space has one. Slow: one forward pass in two modes per chunk, restart and step. Must not know training
images.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from privaudit.derivatives import Parameters, along, summed_gradient
from privaudit.objectives.equation import AbstractSearchEquation
from privaudit.objectives.interface import AttackerKnowledge, Variables
from privaudit.objectives.prior import PixelPrior, SpanPrior
from privaudit.spans import SearchSpace
from privaudit.text import one_line

_SMOOTHING = 100.0  # of the ReLU derivative (METHOD 3; published range 10–500)
_VARIATION = 0.1  # without a low-rank span as FeatureSpan has it (METHOD 3e)
_BEYOND = 1e-4
_RATES = {True: 0.06, False: 0.12}  # of coordinates with and without a decoder
_BIAS_IMPORTANCE = 0.1  # METHOD 3
_CHUNK = 64  # candidates in memory at once
_LINEAR_FROM = 80.0  # α z from which softplus is exactly the identity: exp(80) still fits in float32


class SmoothedRelu(nn.Module):
    """ReLU whose derivative is `sigmoid(smoothing · z)` in forward and reverse mode, in every order.

    Softplus has that derivative; a constant takes its value back to ReLU's. (A custom autograd function would need its
    own rules for each transform.) `detach` holds for forward mode too.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self._smoothing = smoothing

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape to the same."""
        smooth = nn.functional.softplus(hidden, self._smoothing, _LINEAR_FROM)
        return smooth + (hidden.relu() - smooth).detach()


def smoothed(network: nn.Module, smoothing: float) -> nn.Module:
    """A copy in which every `nn.ReLU` has a smoothed derivative.

    Calls of `torch.relu` or `functional.relu` inside a user's `forward` cannot be seen from outside and keep their
    exact derivative; so does every other activation.
    """
    if type(network) is nn.ReLU:
        return SmoothedRelu(smoothing)
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):  # named_children leaves out a second name of the same child
            if type(child) is nn.ReLU:  # a subclass may compute something else
                setattr(module, name, SmoothedRelu(smoothing))
    return network


def refusal(network: nn.Module, input_shape: tuple[int, int, int]) -> str:
    """Why torch cannot differentiate the network as the equation needs it, in one sentence; empty where it can."""
    whole = ModuleSum(network, torch.float32)
    if not whole.parameters:
        return "it has no parameters."
    probe = torch.zeros(2, *input_shape).to(next(iter(whole.parameters.values())))
    try:
        whole.gradients(probe, whole.gradient_sum(probe, lambda _, outputs: torch.ones_like(outputs)))
    except (RuntimeError, TypeError) as error:
        return f"{one_line(str(error), 120)}."
    return ""


@dataclass(frozen=True)
class Residual:
    """What is left of the weights after the sum over all candidates of one restart.

    Attributes:
        left: `θ − Σ c ∇Φ` by parameter.
        outputs: (m, K).
        coefficients: (m, K), in the scale of the equation.
    """

    left: Parameters
    outputs: Tensor
    coefficients: Tensor


def parameter_importance(parameters: Mapping[str, Tensor], squared_norms: Mapping[str, float]) -> dict[str, float]:
    """Weight of each parameter's relative squared residual.

    A weight gets `min ‖W‖² / ‖W‖²`, as in `ReluMlpSum`; a vector a tenth of its weight's, or of its own where its
    module has no weight matrix.

    Args:
        parameters: none of them zero.
        squared_norms: by the same names.
    """
    matrices = {k: squared_norms[k] for k, v in parameters.items() if v.ndim > 1}
    smallest = min(matrices.values(), default=min((squared_norms[k] for k in parameters), default=1.0))
    owners = {k.rpartition(".")[0]: smallest / norm for k, norm in matrices.items()}
    out = {}
    for k in parameters:
        own = min(1.0, smallest / squared_norms[k])
        out[k] = smallest / matrices[k] if k in matrices else _BIAS_IMPORTANCE * owners.get(k.rpartition(".")[0], own)
    return out


class ModuleSum:
    """The weighted sum of gradients of a module and its distance from the weights.

    Attributes:
        importance: as `parameter_importance`. Parameters that are zero have no relative residual and are left out.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, chunk: int = _CHUNK, smoothing: float = _SMOOTHING):
        """Prepare a copy of the network.

        Args:
            network: inputs (N, C, H, W) to outputs (N, K), each image on its own.
            dtype: arithmetic.
            chunk: candidates that pass through at once.
            smoothing: α of the ReLU derivative.
        """
        self._network = smoothed(network, smoothing).to(dtype).eval().requires_grad_(False)
        self._chunk = chunk
        parameters = {k: v.detach() for k, v in self._network.named_parameters()}
        self._norms = {k: float((v**2).sum()) for k, v in parameters.items()}
        self.parameters = {k: v for k, v in parameters.items() if self._norms[k] > 0}
        self.importance = parameter_importance(self.parameters, self._norms)

    def outputs(self, inputs: Tensor) -> Tensor:
        """(m, C, H, W) to (m, K), without gradients."""
        with torch.no_grad():
            return torch.cat([self._network(part) for part in torch.split(inputs, self._chunk)])

    def gradient_sum(self, inputs: Tensor, coefficients: Callable[[slice, Tensor], Tensor]) -> Residual:
        """Add up the gradients of all candidates.

        Args:
            inputs: (m, C, H, W).
            coefficients: from a chunk's place and outputs (n, K) to its multipliers (n, K).
        """
        left = {k: v.clone() for k, v in self.parameters.items()}
        outputs, used = [], []
        for begin in range(0, len(inputs), self._chunk):
            place = slice(begin, begin + self._chunk)
            found = summed_gradient(self._network, self.parameters, inputs[place], partial(coefficients, place))
            for name, gradient in found[0].items():
                left[name] -= gradient
            outputs.append(found[1])
            used.append(found[2])
        return Residual(left, torch.cat(outputs), torch.cat(used))

    def loss(self, residual: Residual) -> Tensor:
        """() weighted sum of relative squared residuals."""
        terms = [self._weight(k) * (v**2).sum() for k, v in residual.left.items()]
        return torch.stack(terms).sum()

    def explained(self, residual: Residual) -> Tensor:
        """() share of the squared weight matrices that the sum explains, at most 1."""
        matrices = [k for k, v in self.parameters.items() if v.ndim > 1] or list(self.parameters)
        left = torch.stack([(residual.left[k] ** 2).sum() for k in matrices]).sum()
        return 1 - left / sum(self._norms[k] for k in matrices)

    def energy(self, residual: Residual) -> Tensor:
        """() size of the sum itself beside the weights, in the measure of `loss` over weight matrices; 1 is equal."""
        matrices = [k for k, v in self.parameters.items() if v.ndim > 1] or list(self.parameters)
        size = [self._weight(k) * ((self.parameters[k] - residual.left[k]) ** 2).sum() for k in matrices]
        return torch.stack(size).sum() / sum(self.importance[k] for k in matrices)

    def gradients(self, inputs: Tensor, residual: Residual) -> tuple[Tensor, Tensor]:
        """Gradients of the loss for the images (m, C, H, W) and the multipliers (m, K): METHOD 2, one chunk a time."""
        direction = {k: self._weight(k) * v for k, v in residual.left.items()}
        for_inputs, for_coefficients = [], []
        parts = torch.split(inputs, self._chunk), torch.split(residual.coefficients, self._chunk)
        for part, coefficients in zip(*parts, strict=True):
            with torch.enable_grad():
                leaf = part.detach().requires_grad_()
                derivative = along(self._network, self.parameters, direction, leaf)
                (gradient,) = torch.autograd.grad((coefficients * derivative).sum(), leaf, materialize_grads=True)
            for_inputs.append(-2 * gradient)
            for_coefficients.append(-2 * derivative.detach())
        return torch.cat(for_inputs), torch.cat(for_coefficients)

    def _weight(self, name: str) -> float:
        return self.importance[name] / self._norms[name]


class ModuleEquation(AbstractSearchEquation):
    """`θ = Σ c_ik ∇Φ_k(x_i)` for any module; restarts one after the other."""

    def __init__(
        self,
        equation: str,
        network: nn.Module,
        n_outputs: int,
        space: SearchSpace,
        knowledge: AttackerKnowledge,
        n_candidates: int,
        dtype: torch.dtype = torch.float32,
        chunk: int = _CHUNK,
    ) -> None:
        """Prepare a copy of the network.

        Args:
            equation: a key of `MULTIPLIERS`.
            network: inputs (N, C, H, W) to outputs (N, K); not changed.
            n_outputs: K.
            space: pixels, or the span of a first linear layer.
            knowledge: preprocessing.
            n_candidates: m.
            dtype: arithmetic of the attack.
            chunk: candidates in memory at once.
        """
        super().__init__(equation, n_outputs, space, n_candidates, dtype, _RATES[space.decoder is not None])
        self._sum = ModuleSum(network, dtype, chunk)
        self._span_prior = None if space.decoder is None else SpanPrior(space, knowledge, _VARIATION, _BEYOND)
        self._pixel_prior = PixelPrior(knowledge, _VARIATION, _BEYOND)

    def _outputs(self, coordinates: Tensor) -> Tensor:
        return torch.stack([self._sum.outputs(inputs) for inputs in self._exact_space.inputs(coordinates)])

    def _unit(self, coordinates: Tensor, coefficients: Tensor) -> Tensor:
        sums = [
            self._sum.gradient_sum(inputs, lambda place, _, fixed=fixed: fixed[place])  # type: ignore[misc]
            for inputs, fixed in zip(self._exact_space.inputs(coordinates), coefficients, strict=True)
        ]
        energy = torch.stack([self._sum.energy(one) for one in sums])
        return energy.clamp_min(1e-30).rsqrt().view(-1, 1, 1)

    def _residuals(self, variables: Variables) -> list[Residual]:
        images = self._exact_space.inputs(variables["coordinates"].detach())
        return [self._residual(variables, restart, inputs) for restart, inputs in enumerate(images)]

    def _residual(self, variables: Variables, restart: int, inputs: Tensor) -> Residual:
        own = {k: v[restart : restart + 1].detach() for k, v in variables.items()}
        per_candidate = {k: v for k, v in own.items() if v.shape[1] == len(inputs)}

        def coefficients(place: slice, outputs: Tensor) -> Tensor:
            part = {k: v[:, place] for k, v in per_candidate.items()}
            return (self._multipliers.coefficients(part, outputs[None]) * own["unit"])[0]

        return self._sum.gradient_sum(inputs, coefficients)

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) weighted relative residuals plus the prior.

        The value is the loss; the graph holds only its exact gradient, as a linear function of images and multipliers.
        """
        residuals = self._residuals(variables)
        inputs = self._exact_space.inputs(variables["coordinates"])
        outputs = torch.stack([one.outputs for one in residuals])
        coefficients = self._multipliers.coefficients(variables, outputs) * variables["unit"]
        pairs = [self._sum.gradients(i.detach(), one) for i, one in zip(inputs, residuals, strict=True)]
        for_inputs, for_coefficients = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        linear = (for_inputs * inputs).flatten(1).sum(1) + (for_coefficients * coefficients).flatten(1).sum(1)
        value = torch.stack([self._sum.loss(one) for one in residuals])
        return value + (linear - linear.detach()) + self._prior(variables["coordinates"], inputs, step).mean(-1)

    def _prior(self, coordinates: Tensor, inputs: Tensor, step: int) -> Tensor:
        if self._span_prior is None:
            return self._pixel_prior.per_image(inputs)
        return self._span_prior.per_image(coordinates * self._exact_space.scale, step)

    def residual(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """(R,) loss without the prior, and (R,) share of the squared weights explained."""
        residuals = self._residuals(variables)
        losses = torch.stack([self._sum.loss(one) for one in residuals])
        return losses, torch.stack([self._sum.explained(one) for one in residuals])
