"""The multiplier equation of a ReLU MLP, searched inside the span of its first layer or over all pixels (METHOD 1, 3c).

Deviations from the published attack: Adam instead of SGD, relative residuals by layer, a smooth whitened basis, total
variation, no floor on the multipliers; one fixed set of settings instead of a hundred tuned runs. Candidates whose
graph would not fit into memory pass through in chunks (`chunked.py`).
"""

import torch
from torch import Tensor

from privaudit.networks import ReluMlp
from privaudit.objectives import chunked
from privaudit.objectives.equation import AbstractSearchEquation
from privaudit.objectives.gradient_sum import Pass, ReluMlpSum
from privaudit.objectives.interface import AttackerKnowledge, Variables
from privaudit.objectives.prior import PixelPrior, SpanPrior
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
        memory_limit: int = chunked.MEMORY_LIMIT,
    ) -> None:
        """Prepare the layers.

        Args:
            equation: a key of `MULTIPLIERS`.
            network: its first layer sees the flattened inputs.
            space: the span of that layer, or all pixels.
            knowledge: preprocessing.
            n_candidates: m.
            dtype: arithmetic of the attack.
            memory_limit: bytes that the graph of a step may take; beyond it candidates pass through in chunks.
        """
        n_outputs = network.linear_layers()[-1].out_features
        super().__init__(equation, n_outputs, space, n_candidates, dtype, _RATE)
        self._sum = ReluMlpSum(network, space, dtype)
        self._memory_limit = memory_limit
        self._span_prior = None if space.decoder is None else SpanPrior(space, knowledge, _VARIATION, _BEYOND)
        self._pixel_prior = PixelPrior(knowledge, _VARIATION, _BEYOND)

    def _chunk(self, coordinates: Tensor) -> int | None:
        """Candidates at once, or None where all of them fit."""
        size = chunked.chunk_size(self._sum, len(coordinates), self._memory_limit)
        return None if coordinates.shape[1] <= size else size

    def _points(self, coordinates: Tensor) -> Tensor:
        return coordinates * self._exact_space.scale

    def _outputs(self, coordinates: Tensor) -> Tensor:
        size = self._chunk(coordinates)
        if size is None:
            return self._sum.forward(self._points(coordinates)).pre[-1]
        pieces = torch.split(coordinates, size, 1)
        return torch.cat([self._sum.forward(self._points(piece)).pre[-1] for piece in pieces], 1)

    def _unit(self, coordinates: Tensor, coefficients: Tensor) -> Tensor:
        size = self._chunk(coordinates)
        if size is None:
            return self._sum.unit_multiplier(self._points(coordinates), coefficients, _SMOOTHING)
        given = {"coordinates": coordinates, "coefficients": coefficients}
        left = chunked.left_of(self._sum, lambda part: self._signals(part, part["coefficients"]), given, size)
        energy = chunked.energy(self._sum, left).clamp_min(1e-30)
        return (sum(self._sum.importance) / energy).sqrt().view(-1, 1, 1)

    def _signals(self, variables: Variables, coefficients: Tensor) -> tuple[Pass, list[Tensor]]:
        run = self._sum.forward(self._points(variables["coordinates"]))
        return run, self._sum.back_signals(run, coefficients, _SMOOTHING)

    def _run(self, variables: Variables, points: Tensor | None = None) -> tuple[Pass, list[Tensor]]:
        run = self._sum.forward(self._points(variables["coordinates"]) if points is None else points)
        coefficients = self._multipliers.coefficients(variables, run.pre[-1]) * variables["unit"]
        return run, self._sum.back_signals(run, coefficients, _SMOOTHING)

    def _prior(self, points: Tensor, step: int) -> Tensor:
        """(R, n) penalties of (R, n, rank) points."""
        if self._span_prior is None:
            return self._pixel_prior.per_image(points.reshape(*points.shape[:-1], *self.space.shape))
        return self._span_prior.per_image(points, step)

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) weighted relative residuals plus the prior."""
        points = self._points(variables["coordinates"])
        return self._sum.loss(*self._run(variables, points)) + self._prior(points, step).mean(-1)

    def backward(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """As the interface has it; in chunks where the graph of all candidates would pass the memory limit."""
        size = self._chunk(variables["coordinates"])
        if size is None:
            return super().backward(variables, step, share_done)
        return chunked.backward(self._sum, self._run, lambda c: self._prior(self._points(c), step), variables, size)

    def residual(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """(R,) loss without the prior, and (R,) share of the squared weights explained."""
        size = self._chunk(variables["coordinates"])
        with torch.no_grad():
            if size is None:
                residuals = self._sum.relative_residuals(*self._run(variables))
            else:
                residuals = chunked.relative(self._sum, chunked.left_of(self._sum, self._run, variables, size))
            return self._sum.weighted(residuals), self._sum.explained_share(residuals)
