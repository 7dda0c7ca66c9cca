"""Feature-span inversion: one image at a time from the row space of a linear layer (METHOD 3e).

Rows of a linear layer are mixtures of the features that training images had there. Mixtures of nonlinear features are
not features of anything, so an image whose features lie in the row space is a candidate for a training image. No
multipliers, no labels, no sum over images: candidates do not interact and their number is free. Relatives: the span
checks of SPEAR (arXiv 2403.03945) and DAGER in federated learning.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from privaudit.objectives.interface import AbstractObjective, AttackerKnowledge, Variables
from privaudit.objectives.prior import SpanPrior, SparsePixelPrior
from privaudit.spans import LinearSite, SearchSpace

_HELD_SHARE = 0.7  # of the steps, with the norm of a candidate held: otherwise it shrinks to where all is in the span
_NORMS = (0.7, 1.0, 1.3)  # times the typical norm of an image of the prior
_VARIATION = 0.03  # inside a span: 0.1 finds more above SSIM 0.4 but also smooth images that resemble controls
_PIXEL_VARIATION = 0.001  # of a sparse variation; with 0.02 it outweighs the last tenth of a per cent outside the span
_BEYOND = 1e-4


class FeatureSpan(AbstractObjective):
    """`1 − ‖V f(x)‖² / ‖f(x)‖²`, V the leading right singular directions of a layer, f the features that enter it."""

    name = "feature_span"

    def __init__(
        self,
        site: LinearSite,
        rank: int,
        space: SearchSpace,
        knowledge: AttackerKnowledge,
        n_candidates: int,
        point_features: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Prepare the projection.

        Args:
            site: a linear layer that does not see the inputs themselves.
            rank: directions of its row space to keep; about the number of training images.
            space: where images are searched: the span of the first layer, or all pixels.
            knowledge: preprocessing.
            n_candidates: side by side.
            point_features: (N, rank) points of the span, in input units, to (N, n_in): the same features without
                passing through pixels, where the network allows that (ten times cheaper for an MLP).
        """
        self.learning_rates = {"coordinates": 0.06 if space.decoder is not None else 0.12}
        self.n_candidates = n_candidates
        self.space = space
        self._features = site.features
        self._point_features = point_features
        self._span = torch.linalg.svd(site.weight, full_matrices=False)[2][:rank].T.contiguous()
        self._is_span = space.decoder is not None
        if self._is_span:
            self._span_prior = SpanPrior(space, knowledge, _VARIATION, _BEYOND)
        else:
            self._pixel_prior = SparsePixelPrior(knowledge, _PIXEL_VARIATION, _BEYOND)

    def start(self, n_restarts: int, generator: torch.Generator) -> Variables:
        """Images of the prior; each candidate's norm is one of three, in turn."""
        n = n_restarts * self.n_candidates
        coordinates = self.space.draw(n, generator).view(n_restarts, self.n_candidates, -1)
        typical = (coordinates * self.space.scale).norm(dim=-1).median()
        norms = torch.tensor(_NORMS).repeat(self.n_candidates // len(_NORMS) + 1)[: self.n_candidates]
        norms = (norms.to(typical) * typical).expand(n_restarts, -1)
        return {"coordinates": coordinates, "norms": norms[..., None].contiguous()}

    def project(self, variables: Variables, share_done: float) -> None:
        """Hold the norm of every candidate for the first part of the steps."""
        if share_done < _HELD_SHARE and self._is_span:
            coordinates = variables["coordinates"]
            norm = (coordinates * self.space.scale).norm(dim=-1, keepdim=True)
            coordinates.mul_(variables["norms"] / norm.clamp_min(1e-9))

    def outside(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) network inputs to (N,) share of the features' energy outside the row space, in [0, 1]."""
        return self._outside(self._features(inputs))

    def _outside(self, features: Tensor) -> Tensor:
        inside: Tensor = ((features @ self._span) ** 2).sum(1) / (features**2).sum(1).clamp_min(1e-9)
        return 1 - inside

    def _candidate_outside(self, coordinates: Tensor) -> Tensor:
        if self._point_features is not None:
            features = self._point_features((coordinates * self.space.scale).flatten(0, 1))
        else:
            features = self._features(self.space.inputs(coordinates).flatten(0, 1))
        return self._outside(features).reshape(coordinates.shape[:2])

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) sums over candidates: they do not interact."""
        coordinates = variables["coordinates"]
        if self._is_span:
            penalty = self._span_prior.per_image(coordinates * self.space.scale, step)
        else:
            penalty = self._pixel_prior.per_image(self.space.inputs(coordinates))
        return (self._candidate_outside(coordinates) + penalty).sum(-1)

    def candidate_losses(self, variables: Variables) -> Tensor:
        """(R, m) share outside the span of every candidate."""
        with torch.no_grad():
            return self._candidate_outside(variables["coordinates"])

    def inputs(self, variables: Variables) -> Tensor:
        """(R, m, C, H, W)."""
        return self.space.inputs(variables["coordinates"])

    def multipliers(self, variables: Variables) -> Tensor | None:
        """None: this objective has none."""
        return None

    def placebo(self, n: int, generator: torch.Generator) -> Tensor:
        """Random images of the search space."""
        return self.space.inputs(self.space.draw(n, generator))
