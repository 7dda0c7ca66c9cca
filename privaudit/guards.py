"""What else a reconstruction might show: the mean of the data, the mean of a class, or another picture of the class.

In: held images, reconstructions, scores. Out: `Guards`. A mean image is nobody's, and an attack that only finds means
looks like a leak wherever images resemble their mean (aligned faces). Must not know how reconstructions were made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.data import ImageSet
from privaudit.matching import Scores, best_scores
from privaudit.ssim import FROZEN

LINE_UP = 99
"""Controls that a training image is lined up with: rank 1 by chance in one of a hundred."""


@dataclass(frozen=True)
class Guards:
    """Decoys and line-ups.

    Attributes:
        decoys: name and best SSIM over all reconstructions of every mean image.
        nearer_decoy: for each record the mean that its reconstruction resembles at least as much, else None. Asked
            only of records above the threshold, with means that leave the record out.
        rank: place of the record in its line-up, 1 the most similar to the reconstruction; None where not asked.
        size: pictures in the line-up.
    """

    decoys: tuple[tuple[str, float], ...] = ()
    nearer_decoy: tuple[str | None, ...] = ()
    rank: tuple[int | None, ...] = ()
    size: tuple[int | None, ...] = ()


def guard(
    reference: ImageSet,
    control: ImageSet | None,
    reconstructions: Tensor,
    scores: Scores,
    threshold: float | None,
    seed: int,
) -> Guards:
    """Score the decoys and line up every record above the threshold.

    Args:
        reference: training images.
        control: images never trained on, or None: then there are no line-ups.
        reconstructions: (M, C, H, W) pixels.
        scores: of the reference.
        threshold: SSIM above which a record counts; None: none does.
        seed: of the choice of controls.
    """
    n = len(reference)
    nearer: list[str | None] = [None] * n
    rank: list[int | None] = [None] * n
    size: list[int | None] = [None] * n
    generator = np.random.default_rng(seed)
    for i in np.flatnonzero(scores.ssim > (np.inf if threshold is None else threshold)).tolist():
        rebuilt = reconstructions[int(scores.reconstruction[i])].numpy()
        means = [(name, FROZEN.score(mean.numpy(), rebuilt)) for name, mean in _means_without(reference, i)]
        best = max(means, key=lambda pair: pair[1], default=("", -1.0))
        nearer[i] = best[0] if best[1] >= scores.ssim[i] else None
        if control is not None and nearer[i] is None:
            others = _line_up(reference, control, i, generator)
            rank[i] = 1 + sum(FROZEN.score(control.pixels[j].numpy(), rebuilt) >= scores.ssim[i] for j in others)
            size[i] = 1 + len(others)
    return Guards(_decoys(reference, reconstructions), tuple(nearer), tuple(rank), tuple(size))


def _decoys(reference: ImageSet, reconstructions: Tensor) -> tuple[tuple[str, float], ...]:
    """Means of all and of each class with two images at least."""
    means = [("data mean", reference.pixels.mean(0))] if len(reference) > 1 else []
    if reference.labels is not None:
        classes, counts = torch.unique(reference.labels, return_counts=True)
        means += [
            (f"mean of class {label}", reference.pixels[reference.labels == label].mean(0))
            for label, count in zip(classes.tolist(), counts.tolist(), strict=True)
            if count > 1
        ]
    if not means or not len(reconstructions):
        return ()
    ssim = best_scores(torch.stack([mean for _, mean in means]), reconstructions).ssim
    return tuple((name, float(score)) for (name, _), score in zip(means, ssim, strict=True))


def _means_without(reference: ImageSet, i: int) -> Iterator[tuple[str, Tensor]]:
    """Means of the other images: one that held the record itself would resemble what shows it."""
    groups = [("data mean", torch.ones(len(reference), dtype=torch.bool))]
    if reference.labels is not None:
        groups.append((f"mean of class {int(reference.labels[i])}", reference.labels == reference.labels[i]))
    for name, mask in groups:
        others = mask.clone()
        others[i] = False
        if others.any():
            yield name, reference.pixels[others].mean(0)


def _line_up(reference: ImageSet, control: ImageSet, i: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Up to `LINE_UP` controls, those of the record's class first."""
    order = generator.permutation(len(control))
    if reference.labels is not None and control.labels is not None:
        is_other = (control.labels != reference.labels[i]).numpy()[order]
        order = order[np.argsort(is_other, kind="stable")]
    return order[:LINE_UP].astype(np.int64)
