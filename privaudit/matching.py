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

_PRESELECTED = 3  # reconstructions a record is scored against, nearest by normalised cross-correlation
_PLACEBO_SCORES = 1000  # member scores wanted from the placebo, to read a 1 % quantile off
_PLACEBO_DRAWS = (3, 20)  # at least, at most
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
    """

    members: Scores
    controls: Scores | None
    placebo_ssim: Floats | None
    nearest_control: NDArray[np.int64] | None


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
    placebo_ssim = None
    if placebo is not None and len(reconstructions):
        low, high = _PLACEBO_DRAWS
        n_draws = min(max(_PLACEBO_SCORES // len(members), low), high)
        draws = [placebo(torch.Generator().manual_seed(seed + k)) for k in range(n_draws)]
        placebo_ssim = np.stack([best_scores(members, draw).ssim for draw in draws])
    return MatchTable(
        found,
        None if controls is None else best_scores(controls, reconstructions),
        placebo_ssim,
        _nearest_controls(reconstructions, found, controls),
    )


def _nearest_controls(reconstructions: Tensor, found: Scores, controls: Tensor | None) -> NDArray[np.int64] | None:
    if controls is None or not len(reconstructions):
        return None
    chosen = reconstructions[torch.from_numpy(found.reconstruction)]
    return _nearest(chosen, controls, 1)[1][:, 0].numpy().astype(np.int64)
