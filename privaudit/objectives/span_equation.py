"""The multiplier equation of a ReLU MLP, searched inside the span of its first layer (METHOD 1, 3c).

Deviations from the published attack: Adam instead of SGD, relative residuals by layer, a smooth whitened basis, total
variation, no floor on the multipliers; one fixed set of settings instead of a hundred tuned runs.
"""

import torch
from torch import Tensor

from privaudit.networks import ReluMlp
from privaudit.objectives.equation import AbstractSearchEquation
from privaudit.objectives.gradient_sum import Pass, ReluMlpSum
from privaudit.objectives.interface import AttackerKnowledge, Variables
from privaudit.objectives.prior import SpanPrior
from privaudit.spans import SearchSpace

_SMOOTHING = 100.0  # of the ReLU derivative (METHOD 3; published range 10–500)
_VARIATION = 1.0  # METHOD 3: 0.3–1 is flat on 50 images, 3–5 worse on 500
_BEYOND = 0.01
_RATE = 0.06  # of whitened coordinates (METHOD 3)


class SpanEquation(AbstractSearchEquation):
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
        n_outputs = network.linear_layers()[-1].out_features
        super().__init__(equation, n_outputs, space, n_candidates, dtype, _RATE)
        self._sum = ReluMlpSum(network, space, dtype)
        self._prior = SpanPrior(space, knowledge, _VARIATION, _BEYOND)

    def _points(self, coordinates: Tensor) -> Tensor:
        return coordinates * self._exact_space.scale

    def _outputs(self, coordinates: Tensor) -> Tensor:
        return self._sum.forward(self._points(coordinates)).pre[-1]

    def _unit(self, coordinates: Tensor, coefficients: Tensor) -> Tensor:
        return self._sum.unit_multiplier(self._points(coordinates), coefficients, _SMOOTHING)

    def _run(self, variables: Variables, points: Tensor) -> tuple[Pass, list[Tensor]]:
        run = self._sum.forward(points)
        coefficients = self._multipliers.coefficients(variables, run.pre[-1]) * variables["unit"]
        return run, self._sum.back_signals(run, coefficients, _SMOOTHING)

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) weighted relative residuals plus the prior."""
        points = self._points(variables["coordinates"])
        return self._sum.loss(*self._run(variables, points)) + self._prior.per_image(points, step).mean(-1)

    def residual(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """(R,) loss without the prior, and (R,) share of the squared weights explained."""
        with torch.no_grad():
            run, signals = self._run(variables, self._points(variables["coordinates"]))
            return self._sum.loss(run, signals), self._sum.explained(run, signals)
