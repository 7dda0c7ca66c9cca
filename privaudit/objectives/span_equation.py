"""The multiplier equation of a ReLU MLP, searched inside the span of its first layer (METHOD 1, 3c).

Deviations from the published attack: Adam instead of SGD, relative residuals by layer, a smooth whitened basis, total
variation, no floor on the multipliers; one fixed set of settings instead of a hundred tuned runs.
"""

import torch
from torch import Tensor

from privaudit.networks import ReluMlp
from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.gradient_sum import ReluMlpSum
from privaudit.objectives.interface import AttackerKnowledge, Variables
from privaudit.objectives.multipliers import MULTIPLIERS
from privaudit.objectives.prior import SpanPrior
from privaudit.spans import SearchSpace

_SMOOTHING = 100.0  # of the ReLU derivative (METHOD 3; published range 10–500)
_VARIATION = 1.0  # METHOD 3: 0.3–1 is flat on 50 images, 3–5 worse on 500
_BEYOND = 0.01


class SpanEquation(AbstractEquation):
    """`θ = Σ c_ik ∇Φ_k(x_i)` over images of the span; restarts share every matrix product."""

    def __init__(
        self,
        equation: str,
        network: ReluMlp,
        space: SearchSpace,
        knowledge: AttackerKnowledge,
        n_candidates: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Prepare the layers.

        Args:
            equation: a key of `MULTIPLIERS`.
            network: its first layer sees the flattened inputs.
            space: the span of that layer.
            knowledge: preprocessing.
            n_candidates: m.
            dtype: arithmetic of the attack.
        """
        self.name = equation
        self.learning_rates = {"coordinates": 0.06, "multipliers": 0.02}
        self.n_candidates = n_candidates
        self.space = space
        self._dtype = dtype
        self._scale = space.scale.to(dtype)
        self._sum = ReluMlpSum(network, space, dtype)
        self._multipliers = MULTIPLIERS[equation](self._sum.layers[-1].weight.shape[0])
        self._prior = SpanPrior(space, knowledge, _VARIATION, _BEYOND)

    def start(self, n_restarts: int, generator: torch.Generator) -> Variables:
        """Standard normal coordinates; multipliers whose first sum is as large as the weights."""
        m = self.n_candidates
        variables: Variables = {"coordinates": torch.randn(n_restarts, m, self.space.rank, generator=generator)}
        variables |= self._multipliers.start(n_restarts, m, generator)
        device = self._scale.device
        variables = {
            k: v.to(device, self._dtype) if v.is_floating_point() else v.to(device) for k, v in variables.items()
        }
        points = variables["coordinates"] * self._scale
        coefficients = self._multipliers.coefficients(variables, self._sum.forward(points).pre[-1])
        variables["unit"] = self._sum.unit_multiplier(points, coefficients, _SMOOTHING)
        return variables

    def warm_start(self, variables: Variables, coordinates: Tensor, multipliers: Tensor) -> None:
        """Replace the first candidates of every restart by (k, rank) coordinates and (k, K) multipliers, in place."""
        k = min(self.n_candidates, len(coordinates))
        variables["coordinates"][:, :k] = coordinates[:k].to(variables["coordinates"])
        unit = max(float(multipliers.norm(dim=1).median()), 1e-12)
        variables["unit"].fill_(unit)
        self._multipliers.put(variables, multipliers[:k].to(self._scale) / unit)

    def _run(self, variables: Variables, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
        points = variables["coordinates"] * self._scale
        run = self._sum.forward(points)
        coefficients = self._multipliers.coefficients(variables, run.pre[-1]) * variables["unit"]
        signals = self._sum.back_signals(run, coefficients, smoothing)
        return points, self._sum.loss(run, signals), self._sum.explained(run, signals)

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) weighted relative residuals plus the prior."""
        points = variables["coordinates"] * self._scale
        run = self._sum.forward(points)
        coefficients = self._multipliers.coefficients(variables, run.pre[-1]) * variables["unit"]
        signals = self._sum.back_signals(run, coefficients, _SMOOTHING)
        return self._sum.loss(run, signals) + self._prior.per_image(points, step).mean(-1)

    def residual(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """(R,) loss without the prior, and (R,) share of the squared weights explained."""
        with torch.no_grad():
            _, loss, explained = self._run(variables, _SMOOTHING)
        return loss, explained

    def inputs(self, variables: Variables) -> Tensor:
        """(R, m, C, H, W)."""
        return self.space.inputs(variables["coordinates"].to(self.space.scale))

    def multipliers(self, variables: Variables) -> Tensor:
        """(R, m, K), in the scale of the equation."""
        with torch.no_grad():
            outputs = self._sum.forward(variables["coordinates"] * self._scale).pre[-1]
            return self._multipliers.coefficients(variables, outputs) * variables["unit"]

    def placebo(self, n: int, generator: torch.Generator) -> Tensor:
        """Random points of the span."""
        return self.space.inputs(self.space.draw(n, generator))
