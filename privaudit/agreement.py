"""Agreement between restarts: evidence for a reconstruction that needs no training image (METHOD 3d).

Independent restarts that end in the same image point to something in the weights; what only one finds may be a false
optimum. Must not know training images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SAME = 0.8  # normalised cross-correlation from which two candidates count as the same image (METHOD 3d)
DISTINCT = 0.6  # below it they count as different; between, the weaker of two is left out


@dataclass(frozen=True)
class Agreement:
    """Which candidates recur.

    Attributes:
        votes: (N,) number of other restarts with the same image.
        kept: indices of recurring candidates, strongest first, no two alike.
        similarity: (N, N) normalised cross-correlation.
    """

    votes: Tensor
    kept: list[int]
    similarity: Tensor

    def average(self, values: Tensor) -> Tensor:
        """(N, …) values to (len(kept), …): the mean over every candidate that shows the same image."""
        groups = self.similarity[self.kept] > SAME
        return torch.stack([values[group].mean(0) for group in groups]) if self.kept else values[:0]


def unit_images(images: Tensor) -> Tensor:
    """(N, C, H, W) to (N, d) of zero mean and unit norm: their products are normalised cross-correlations."""
    flat = images.flatten(1)
    return torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)


def agreement(inputs: Tensor, restart: Tensor) -> Agreement:
    """Find what recurs.

    Args:
        inputs: (N, C, H, W) candidates as network inputs (the mean image removed: it is alike in all).
        restart: (N,) which restart each came from.
    """
    units = unit_images(inputs)
    similarity = units @ units.T
    groups = torch.unique(restart)
    if len(groups) == len(restart):  # every candidate on its own: each other one is another restart
        best = similarity.clone().fill_diagonal_(0)
    else:
        best = torch.stack([similarity[:, restart == group].max(1).values for group in groups], 1)
        best[torch.arange(len(best)), torch.searchsorted(groups, restart)] = 0
    votes = (best > SAME).sum(1)
    order = (votes + best.clamp_min(0).sum(1) / 10).argsort(descending=True)
    kept = distinct(order[votes[order] > 0], similarity, DISTINCT)
    return Agreement(votes, kept, similarity)


def distinct(order: Tensor, similarity: Tensor, limit: float) -> list[int]:
    """Indices in `order`, leaving out each that is at least `limit` alike to one before it."""
    kept: list[int] = []
    taken = torch.zeros(len(similarity), dtype=torch.bool)
    for index in order.tolist():
        if not taken[index]:
            kept.append(index)
            taken |= similarity[index] >= limit
    return kept
