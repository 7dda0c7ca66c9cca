"""Reconstructions against held images: the first place where training images enter.

In: reconstructions, members, controls, a way to draw placebos. Out: a `MatchTable`. Members, controls and the placebo
pass through the same function with pools of equal size. Must not know how reconstructions were made.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.agreement import unit_images
from privaudit.ssim import FROZEN, SsimSpec
from privaudit.statistics import monte_carlo_p_value

_PRESELECTED = 3  # reconstructions a record is scored against, nearest by normalised cross-correlation
_PLACEBO_SCORES = 1000  # member scores wanted from the placebo, to read a 1 % quantile off
_PLACEBO_DRAWS = (3, 20)  # at least, at most
_PLACEBO_POOLS = 99  # whole sets of draws that the reconstructions are compared with: the least p-value is 1 in 100
_EXCESS_QUANTILE = 0.99  # of all members' scores in all pools; what lies above it is added up
_BLOCK = 2048

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Best match of every image of a set.

    Attributes:
        ssim: (N,) best SSIM over the preselected reconstructions, in [-1, 1]; -1 where there are none.
        ncc: (N,) highest normalised cross-correlation with any reconstruction, in [-1, 1].
        reconstruction: (N,) index of the reconstruction with that SSIM, -1 where there are none.
    """

    ssim: Floats
    ncc: Floats
    reconstruction: NDArray[np.int64]


@dataclass(frozen=True)
class MatchTable:
    """Members, controls and placebo through the same code.

    Attributes:
        members: scores of the reference.
        controls: scores of the controls, or None.
        placebo_ssim: (draws, N) best SSIM of every member over a placebo of the same size, or None.
        nearest_control: (N,) index of the control nearest to each member's reconstruction, or None.
        placebo_p_value: exact chance that the reconstructions are one more placebo, or None.
    """

    members: Scores
    controls: Scores | None
    placebo_ssim: Floats | None
    nearest_control: NDArray[np.int64] | None
    placebo_p_value: float | None = None


def best_scores(images: Tensor, reconstructions: Tensor, spec: SsimSpec = FROZEN) -> Scores:
    """Score every image of (N, C, H, W) pixels against (M, C, H, W) reconstructions."""
    n = len(images)
    if not len(reconstructions):
        return Scores(np.full(n, -1.0), np.full(n, -1.0), np.full(n, -1, dtype=np.int64))
    values, nearest = _nearest(images, reconstructions, min(_PRESELECTED, len(reconstructions)))
    held, rebuilt = images.numpy(), reconstructions.numpy()
    ssim = np.array([[spec.score(held[i], rebuilt[j]) for j in row] for i, row in enumerate(nearest.tolist())])
    best = ssim.argmax(1)
    return Scores(
        ssim[np.arange(n), best].astype(np.float64),
        values[:, 0].double().numpy(),
        nearest.numpy()[np.arange(n), best].astype(np.int64),
    )


def _nearest(images: Tensor, pool: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(N, k) highest normalised cross-correlations and where; in blocks, so that large sets fit."""
    units = unit_images(pool)
    blocks = [(unit_images(block) @ units.T).topk(k) for block in torch.split(images, _BLOCK)]
    return torch.cat([block.values for block in blocks]), torch.cat([block.indices for block in blocks])


def match(
    reconstructions: Tensor,
    members: Tensor,
    controls: Tensor | None,
    placebo: Callable[[torch.Generator], Tensor] | None,
    seed: int,
) -> MatchTable:
    """Score members, controls and placebo.

    Args:
        reconstructions: (M, C, H, W) pixels, not clipped.
        members: (N, C, H, W) pixels in [0, 1].
        controls: the same, never trained on, or None.
        placebo: draws (M, C, H, W) unoptimised pixels from the search spaces (METHOD 3f), or None.
        seed: of the placebo's draws.
    """
    found = best_scores(members, reconstructions)
    placebo_ssim, placebo_p_value = None, None
    if placebo is not None and len(reconstructions):
        placebo_ssim, placebo_p_value = _against_placebo(found, members, placebo, seed)
    return MatchTable(
        found,
        None if controls is None else best_scores(controls, reconstructions),
        placebo_ssim,
        _nearest_controls(reconstructions, found, controls),
        placebo_p_value,
    )


def _against_placebo(
    found: Scores, members: Tensor, placebo: Callable[[torch.Generator], Tensor], seed: int
) -> tuple[Floats, float]:
    """Best SSIM of members over some draws, and the exact test over all of them.

    The test asks whether the reconstructions could be one more set of draws. It adds up by how much correlations
    exceed a level that all sets, the reconstructions among them, set together: a few images rebuilt well count as
    much as many rebuilt badly. Correlations stand in for SSIM because a hundred sets have to be scored.
    """
    low, high = _PLACEBO_DRAWS
    n_scored = min(max(_PLACEBO_SCORES // len(members), low), high)
    ssim, ncc = [], [found.ncc]
    for k in range(_PLACEBO_POOLS):
        draw = placebo(torch.Generator().manual_seed(seed + k))
        if k < n_scored:
            scores = best_scores(members, draw)
            ssim.append(scores.ssim)
            ncc.append(scores.ncc)
        else:
            ncc.append(_nearest(members, draw, 1)[0][:, 0].double().numpy())
    stacked = np.stack(ncc)
    excess = np.clip(stacked - np.quantile(stacked, _EXCESS_QUANTILE), 0, None).sum(1)
    return np.stack(ssim), monte_carlo_p_value(float(excess[0]), excess[1:])


def _nearest_controls(reconstructions: Tensor, found: Scores, controls: Tensor | None) -> NDArray[np.int64] | None:
    if controls is None or not len(reconstructions):
        return None
    chosen = reconstructions[torch.from_numpy(found.reconstruction)]
    return _nearest(chosen, controls, 1)[1][:, 0].numpy().astype(np.int64)
