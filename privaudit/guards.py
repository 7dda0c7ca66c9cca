"""What else a reconstruction might show: the mean of the data or of a class; and who comes first in a line-up.

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
from privaudit.matching import MatchTable, best_scores
from privaudit.ssim import FROZEN

LINE_UP = 99
"""Controls that a training image is lined up with: first by chance in one of a hundred."""

MEAN_OF = 10
"""Images that make a mean nobody's; of two images of a subject it is nearly the other one."""


@dataclass(frozen=True)
class Guards:
    """Decoys and line-ups.

    Attributes:
        decoys: name and best SSIM over all reconstructions of every mean image.
        nearer_decoy: for each record the mean that its reconstruction resembles at least as much, else None. Asked
            only of records above the threshold, with means that leave the record out.
        rank: place of each record in its line-up by best SSIM, 1 the highest; None without controls.
        size: pictures in the line-up, the record among them.
    """

    decoys: tuple[tuple[str, float], ...]
    nearer_decoy: tuple[str | None, ...]
    rank: tuple[int | None, ...]
    size: tuple[int | None, ...]


def guard(
    reference: ImageSet,
    control: ImageSet | None,
    reconstructions: Tensor,
    table: MatchTable,
    threshold: float | None,
    seed: int,
) -> Guards:
    """Score the decoys, look for them behind what counts, and line up every record.

    Args:
        reference: training images.
        control: images never trained on, or None: then there are no line-ups.
        reconstructions: (M, C, H, W) pixels.
        table: scores of reference and controls.
        threshold: SSIM above which a record counts; None: none does.
        seed: of the choice of controls.
    """
    nearer = _nearer(reference, reconstructions, table, threshold)
    return Guards(_decoys(reference, reconstructions), nearer, *_line_ups(reference, control, table, seed))


@dataclass(frozen=True)
class _Sums:
    """Sums of pixels, so that a mean without one image costs one subtraction."""

    everyone: Tensor
    n: int
    by_class: dict[int, tuple[Tensor, int]]

    def means_without(self, image: Tensor, label: int | None) -> Iterator[tuple[str, Tensor]]:
        """Means of the other images: one that held the record itself would resemble what shows it."""
        groups = [("data mean", self.everyone, self.n)]
        if label is not None:
            groups.append((f"mean of class {label}", *self.by_class[label]))
        for name, total, n in groups:
            if n > MEAN_OF:
                yield name, ((total - image) / (n - 1)).float()


def _sums(reference: ImageSet) -> _Sums:
    pixels, by_class = reference.pixels, {}
    if reference.labels is not None:
        for label in torch.unique(reference.labels).tolist():
            mask = reference.labels == label
            by_class[label] = (pixels[mask].sum(0, dtype=torch.float64), int(mask.sum()))
    return _Sums(pixels.sum(0, dtype=torch.float64), len(pixels), by_class)


def _nearer(
    reference: ImageSet, reconstructions: Tensor, table: MatchTable, threshold: float | None
) -> tuple[str | None, ...]:
    """The decoy behind each record above the threshold, if there is one.

    A record that itself resembles the mean above the threshold is not set aside: there the mean is not nobody's.
    """
    nearer: list[str | None] = [None] * len(reference)
    if threshold is None:
        return tuple(nearer)
    scores, sums = table.members, _sums(reference)
    for i in np.flatnonzero(scores.ssim > threshold).tolist():
        rebuilt = reconstructions[int(scores.reconstruction[i])].numpy()
        label = None if reference.labels is None else int(reference.labels[i])
        for name, mean in sums.means_without(reference.pixels[i], label):
            is_as_near = FROZEN.score(mean.numpy(), rebuilt) >= scores.ssim[i]
            if is_as_near and FROZEN.score(mean.numpy(), reference.pixels[i].numpy()) <= threshold:
                nearer[i] = name
    return tuple(nearer)


def _decoys(reference: ImageSet, reconstructions: Tensor) -> tuple[tuple[str, float], ...]:
    """Means of all and of each class, of enough images each."""
    sums = _sums(reference)
    groups = {"data mean": (sums.everyone, sums.n)}
    groups |= {f"mean of class {label}": group for label, group in sums.by_class.items()}
    means = {name: (total / n).float() for name, (total, n) in groups.items() if n >= MEAN_OF}
    if not means or not len(reconstructions):
        return ()
    ssim = best_scores(torch.stack(list(means.values())), reconstructions).ssim
    return tuple((name, float(score)) for name, score in zip(means, ssim, strict=True))


def _line_ups(
    reference: ImageSet, control: ImageSet | None, table: MatchTable, seed: int
) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Every record among controls that had the same pool of reconstructions to choose their best from.

    All records, not only those that count: what exceeds the controls' quantile comes first by construction.
    """
    nothing: tuple[int | None, ...] = (None,) * len(reference)
    if control is None or table.controls is None:
        return nothing, nothing
    labels = [None] * len(reference) if reference.labels is None else reference.labels.tolist()
    line_up = {label: _lined_up(control, label, seed) for label in set(labels)}
    best = table.controls.ssim
    ranks = tuple(
        1 + int((best[line_up[label]] >= score).sum()) for label, score in zip(labels, table.members.ssim, strict=True)
    )
    return ranks, tuple(1 + len(line_up[label]) for label in labels)


def _lined_up(control: ImageSet, label: int | None, seed: int) -> NDArray[np.int64]:
    """Up to `LINE_UP` controls, those of the class first."""
    order = np.random.default_rng(seed).permutation(len(control))
    if label is not None and control.labels is not None:
        is_other = (control.labels != label).numpy()[order]
        order = order[np.argsort(is_other, kind="stable")]
    return order[:LINE_UP].astype(np.int64)
