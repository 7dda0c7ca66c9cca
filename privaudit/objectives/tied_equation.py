"""The multiplier equation with multipliers tied to the loss and with free ReLU derivatives at the kinks (METHOD 3).

The plain equation has many false optima: multipliers are free, so a blurred image with a larger multiplier explains as
much as the true one, and the true images themselves fit worse than false optima because training pushes pre-activations
onto the kink, where the derivative may be anything in [0, 1]. Two changes turn the loss into a judge; with both the
true images fit several times better than what the plain equation ends at (benchmarks/RESULTS.md):

* a candidate keeps its label, the direction of its multiplier follows from its outputs, and its size may leave what the
  outputs say only against a penalty (`loss_ties.py`): this fixes the contrast of the image;
* the derivative is `lo + (hi − lo) t` with a free `t` in [0, 1], where `lo`, `hi` are 0 or 1 away from the kink and
  open up to [0, 1] on it, over a band that shrinks while the search runs.

The residual of the first layer is weighted by `S^-1/2`: fine detail lies in directions of small singular values S.
"""

import copy
import math

import torch
from torch import Tensor

from privaudit.networks import ReluMlp
from privaudit.objectives.gradient_sum import Pass, ReluMlpSum, squared_residual
from privaudit.objectives.interface import AbstractObjective, AttackerKnowledge, Variables
from privaudit.objectives.loss_ties import LossTie
from privaudit.objectives.prior import SpanPrior
from privaudit.spans import SearchSpace

_BAND = (1.0, 0.003)  # half-width of the kink, first and last; members' pre-activations lie within 0.001 (METHOD 3)
_VARIATION = (0.3, 0.001)  # weight of the total variation, likewise
_TIE = (0.003, 0.01)  # weight of the multipliers' departure from the loss, likewise
_SCHEDULE_SHARE = 0.7  # of the steps over which these change
_BEYOND = 0.01
_WHITENING = 0.5  # power of S that divides the first layer's residual; 0 and 1 find fewer
_UNSEEN_LOG_SIZE = -6.0  # of the derivative of a loss fitted to the end: members' outputs are at 0.997 (METHOD 3)
_FRESH_LOG_SIZE = -0.7  # of a fresh candidate's multiplier beside what its outputs say: found ones lead
_STRETCHES = torch.linspace(0.5, 4.0, 71)  # tried to bring a candidate's contrast to what its multiplier says


def _between(ends: tuple[float, float], share_done: float) -> float:
    """Geometric from the first to the last value."""
    return float(ends[0] * (ends[1] / ends[0]) ** min(1.0, share_done / _SCHEDULE_SHARE))


class TiedEquation(AbstractObjective):
    """`θ = Σ c_i ∇Φ(x_i)` with `c_i` from the loss at `x_i`.

    Variables: `coordinates` (R, m, rank); `log_sizes` (R, m) of the multipliers; `labels` (R, m) int64; `gates_l`
    (R, m, width of hidden layer l) in [0, 1].
    """

    name = "tied_equation"

    def __init__(
        self,
        network: ReluMlp,
        space: SearchSpace,
        knowledge: AttackerKnowledge,
        tie: LossTie,
        log_scale: float,
        n_candidates: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Prepare the layers.

        Args:
            network: its first layer sees the flattened inputs.
            space: the span of that layer.
            knowledge: preprocessing.
            tie: the loss.
            log_scale: logarithm of `1 / (n λ_WD)`.
            n_candidates: m.
            dtype: arithmetic of the attack.
        """
        self.n_candidates, self.space, self._band = n_candidates, space, _BAND
        self._sum = ReluMlpSum(network, space, dtype)
        self._tie, self._log_scale, self._dtype = tie, log_scale + tie.log_factor, dtype
        self._scale = space.scale.to(dtype)
        self._prior = SpanPrior(space, knowledge, 1.0, _BEYOND)
        _, singular, right = torch.linalg.svd(self._sum.layers[0].weight.double(), full_matrices=False)
        weights = singular.clamp_min(1e-12 * float(singular[0])) ** -_WHITENING
        # (rank, rank): of unit norm once the first layer has gone through it, so that residuals are relative.
        whiten = right.T * (weights / (weights * singular).norm())
        self._whiten = whiten.to(dtype)
        self._white_weight = self._sum.layers[0].weight @ self._whiten
        hidden = range(len(self._sum.layers) - 1)
        self._gates = [f"gates_{index}" for index in hidden]
        self.learning_rates = {"coordinates": 0.1, "log_sizes": 0.05} | dict.fromkeys(self._gates, 0.1)

    def start(self, n_restarts: int, generator: torch.Generator) -> Variables:
        """Random images of the prior with the label and contrast that their outputs suggest."""
        m = self.n_candidates
        drawn = self.space.draw(n_restarts * m, generator).view(n_restarts, m, -1).to(self._dtype)
        coordinates, sizes, labels = self._suggested(drawn)
        variables = {"coordinates": coordinates, "log_sizes": sizes + _FRESH_LOG_SIZE, "labels": labels}
        for name, layer in zip(self._gates, self._sum.layers, strict=False):
            variables[name] = torch.full((n_restarts, m, layer.weight.shape[0]), 0.5).to(drawn)
        return variables

    def take_over(self, variables: Variables, coordinates: Tensor, multipliers: Tensor) -> None:
        """Start from candidates of the plain equation, in place.

        Candidates whose multiplier contradicts the network's own output there are false optima and are left out; the
        contrast of the others is stretched to what their multiplier says. As many of the start's random candidates go.

        Args:
            variables: of `start`.
            coordinates: (R, k, rank), restart by restart.
            multipliers: (R, k, K), in the scale of the equation.
        """
        for restart, (points, signal) in enumerate(zip(coordinates, multipliers, strict=True)):
            points, signal = points.to(variables["coordinates"]), signal.to(variables["coordinates"])
            labels = self._tie.label(signal)
            kept = (self._tie.label(self._outputs(points)) == labels).nonzero()[: self.n_candidates, 0]
            sizes = signal.abs().amax(-1).clamp_min(1e-12).log()
            stretched, sizes = self._fit_contrast(points[kept], sizes[kept], labels[kept])
            k = len(kept)
            variables["coordinates"][restart, :k] = stretched
            variables["log_sizes"][restart, :k] = sizes
            variables["labels"][restart, :k] = labels[kept]
            if k:
                self.subordinate(variables, restart, k, sizes.median())

    def take_images(self, variables: Variables, coordinates: Tensor) -> None:
        """Start every restart from (k, rank) images, with the label and contrast that their outputs suggest, in place.

        Args:
            variables: of `start`; its first k candidates are replaced, k at most m.
            coordinates: of the images.
        """
        points, sizes, labels = self._suggested(coordinates.to(variables["coordinates"]))
        k = len(points)
        variables["coordinates"][:, :k], variables["log_sizes"][:, :k] = points, sizes
        variables["labels"][:, :k] = labels
        for restart in range(len(variables["labels"]) if k else 0):
            self.subordinate(variables, restart, k, sizes.median())

    def with_proposals(self, band: float, n_candidates: int) -> "TiedEquation":
        """The same equation for `n_candidates` whose kinks have the half-width `band` at the first step."""
        other = copy.copy(self)
        other._band, other.n_candidates = (band, self._band[1]), n_candidates
        return other

    def subordinate(self, variables: Variables, restart: int, n_found: int, log_size: Tensor) -> None:
        """Let the multipliers after the first `n_found` begin below `log_size`: found images lead. In place."""
        variables["log_sizes"][restart, n_found:] = log_size + _FRESH_LOG_SIZE

    def project(self, variables: Variables, share_done: float) -> None:
        """Derivatives of a ReLU lie in [0, 1]."""
        for name in self._gates:
            variables[name].clamp_(0, 1)

    def gaps(self, variables: Variables) -> Tensor:
        """(R, m) logarithm of each multiplier over what the loss says at the candidate; 0 at a stationary point."""
        with torch.no_grad():
            outputs = self._outputs(variables["coordinates"])
            return variables["log_sizes"] - self._log_scale - self._tie.log_size(outputs, variables["labels"])

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) weighted relative residuals, the tie and the prior."""
        points = variables["coordinates"] * self._scale
        run, signals = self._run(variables, points, _between(self._band, share_done))
        gap = variables["log_sizes"] - self._log_scale - self._tie.log_size(run.pre[-1], variables["labels"])
        tie = torch.nn.functional.huber_loss(gap, torch.zeros_like(gap), reduction="none").mean(-1)
        prior = _between(_VARIATION, share_done) * self._prior.per_image(points, step).mean(-1)
        return self._residual(run, signals) + _between(_TIE, share_done) * tie + prior

    def inputs(self, variables: Variables) -> Tensor:
        """(R, m, C, H, W)."""
        return self.space.inputs(variables["coordinates"].to(self.space.scale))

    def multipliers(self, variables: Variables) -> Tensor:
        """(R, m, K)."""
        with torch.no_grad():
            outputs = self._outputs(variables["coordinates"])
            return variables["log_sizes"].exp()[..., None] * self._tie.direction(outputs, variables["labels"])

    def residual(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """(R,) loss without tie and prior, and (R,) share of the squared weights explained."""
        with torch.no_grad():
            run, signals = self._run(variables, variables["coordinates"] * self._scale, self._band[1])
            return self._residual(run, signals), self._sum.explained(run, signals)

    def placebo(self, n: int, generator: torch.Generator) -> Tensor:
        """Random images of the search space."""
        return self.space.inputs(self.space.draw(n, generator))

    def _outputs(self, coordinates: Tensor) -> Tensor:
        return self._sum.forward(coordinates * self._scale).pre[-1]

    def _run(self, variables: Variables, points: Tensor, band: float) -> tuple[Pass, list[Tensor]]:
        run = self._sum.forward(points)
        direction = self._tie.direction(run.pre[-1], variables["labels"])
        signals = [variables["log_sizes"].exp()[..., None] * direction]
        for index in reversed(range(len(self._gates))):
            pre, free = run.pre[index], variables[self._gates[index]]
            low, high = (pre / band).clamp(0, 1), (1 + pre / band).clamp(0, 1)
            derivative = low + (high - low) * free
            signals.append(self._sum.layers[index + 1].backward(signals[-1]) * derivative)
        return run, signals[::-1]

    def _residual(self, run: Pass, signals: list[Tensor]) -> Tensor:
        """(R,) as in the plain equation, except that the first layer's is whitened."""
        white = run.hidden[0] @ self._whiten
        first = squared_residual(self._white_weight, 1.0, white, white @ self._white_weight.T, signals[0])
        others = range(1, len(signals))
        residuals = [first, *(self._sum.weight_residual(index, run, signals) for index in others)]
        biases = [self._sum.bias_residual(index, signals) for index in range(len(signals))]
        return self._sum.weighted(list(zip(residuals, biases, strict=True)))

    def _suggested(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., rank) images to themselves with contrast, (...) log sizes and labels that their outputs suggest."""
        labels = self._tie.label(self._outputs(coordinates))
        sizes = torch.full(labels.shape, self._log_scale + _UNSEEN_LOG_SIZE).to(coordinates)
        return *self._fit_contrast(coordinates, sizes, labels), labels

    def _fit_contrast(self, coordinates: Tensor, sizes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Stretch (..., rank) coordinates, and shrink their multipliers as much, until the tie holds best."""
        gaps = []
        for stretch in _STRETCHES.tolist():
            said = self._log_scale + self._tie.log_size(self._outputs(coordinates * stretch), labels)
            gaps.append((sizes - math.log(stretch) - said).abs())
        best = _STRETCHES.to(sizes)[torch.stack(gaps).argmin(0)]
        return coordinates * best[..., None], sizes - best.log()
