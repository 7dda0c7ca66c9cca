"""Reference and controls made fit for counting: every picture once, none in both, controls of the same classes.

In: two `ImageSet`. Out: `HeldImages`. What is left out is named, never silently. Must not know networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from privaudit.data import ImageSet, find_duplicates, first_of_equals, with_labels_of, without
from privaudit.errors import DataError
from privaudit.result_evidence import ClassMatch
from privaudit.statistics import ROUNDING

_MOST_PAIRS = 50_000_000
"""Pairs up to which shifted copies are looked for too: half a minute on a core for 32×32 pixels."""

_SHARE_APART = 0.05
"""Total variation distance between shares of classes up to which they count as equal."""

_PER_CLASS = 2
"""Images a class from which classes are compared."""

_LEAST_SIDE = 8
"""Pixels; shifted copies of smaller images agree in too few pixels to be told from chance."""


@dataclass(frozen=True)
class HeldImages:
    """What the user holds, fit for counting.

    Attributes:
        reference: training images, each picture once.
        control: images never trained on, each once and none in the reference; None where none were given.
        duplicates: names of controls left out because the reference holds the same picture, also mirrored or shifted.
        near_duplicates: groups of names in the reference (or among the controls) that show one picture; the first
            stays, the others are left out.
        class_match: whether classes have equal shares; None without labels on both sides that can be compared.
        not_searched: what was not looked for, a sentence; empty where everything was.
    """

    reference: ImageSet
    control: ImageSet | None
    duplicates: tuple[str, ...] = ()
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    class_match: ClassMatch | None = None
    not_searched: str = ""


def held_images(reference: ImageSet, control: ImageSet | None, fpr: float, seed: int) -> HeldImages:
    """Leave out what would be counted twice, or counted for both sides.

    Args:
        reference: training images.
        control: images that were never trained on, or None.
        fpr: rate that the controls have to support; classes are matched only while 1 / fpr of them remain.
        seed: of the draw of class-matched controls.

    Raises:
        DataError: every control is a picture of the reference.
    """
    reference, groups = _each_once(reference)
    if control is None:
        return HeldImages(reference, None, (), groups)
    control = with_labels_of(reference, control)
    copies = sorted({index for _, index in _copies(reference, control)})
    if len(copies) == len(control):
        raise DataError(
            f"expected controls that were not trained on in {control.source}, found every one of its {len(control)} "
            f"images also in the reference {reference.source}; name other images"
        )
    names = tuple(control.names[i] for i in copies)
    not_searched = _no_shifts(reference, control)
    control, further = _each_once(without(control, copies))
    matched: ClassMatch | None = None
    if _has_classes(reference) and control.labels is not None:
        control, matched = _class_matched(reference, control, ceil(1 / fpr - ROUNDING), seed)
    return HeldImages(reference, control, names, groups + further, matched, not_searched)


def _each_once(images: ImageSet) -> tuple[ImageSet, tuple[tuple[str, ...], ...]]:
    """Without images like one that is kept, and for each kept one its name and theirs.

    Only likeness to a kept image counts: in a chain of video frames neighbours are alike and the ends are not.
    """
    first = first_of_equals(images)
    kept = [index for index, place in enumerate(first) if index == place]
    apart = without(images, [index for index, place in enumerate(first) if index != place])
    near: dict[int, int] = {}
    for i, j in sorted(((kept[i], kept[j]) for i, j in find_duplicates(apart, apart) if i < j), key=lambda p: p[::-1]):
        if i not in near:
            near.setdefault(j, i)
    groups: dict[int, list[str]] = {}
    repeated = []
    for index, place in enumerate(first):
        stands_for = near.get(place, place)
        if stands_for != index:
            groups.setdefault(stands_for, [images.names[stands_for]]).append(images.names[index])
            repeated.append(index)
    return without(images, repeated), tuple(tuple(group) for group in groups.values())


def _copies(reference: ImageSet, control: ImageSet) -> Iterator[tuple[int, int]]:
    """Pairs (reference, control) of one picture: as it is, mirrored, or shifted by a pixel.

    A trained-on picture among the controls raises the threshold and hides leaks; the cheapest disguises are those of
    data augmentation. Correlation does not see brightness and contrast, so these need no search of their own.
    """
    mirrored = replace(control, pixels=control.pixels.flip(-1))
    for candidate in (control, mirrored):
        yield from find_duplicates(reference, candidate)
    if _no_shifts(reference, control):
        return
    inner = _window(reference, 0, 0)
    for candidate in (control, mirrored):
        for down, right in [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]:
            yield from find_duplicates(inner, _window(candidate, down, right))


def _no_shifts(reference: ImageSet, control: ImageSet) -> str:
    """Why shifted copies are not looked for; empty where they are."""
    side = min(reference.pixels.shape[-2:])
    if side < _LEAST_SIDE:
        return f"Controls that are shifted copies of training images were not looked for: {side} pixels are too few."
    if len(reference) * len(control) > _MOST_PAIRS:
        return (
            f"Controls that are shifted copies of training images were not looked for among {len(reference):,} × "
            f"{len(control):,} pairs; mirrored ones were."
        )
    return ""


def _window(images: ImageSet, down: int, right: int) -> ImageSet:
    """All but a border of one pixel, moved by one at most."""
    height, width = images.pixels.shape[-2:]
    rows, columns = slice(1 + down, height - 1 + down), slice(1 + right, width - 1 + right)
    return replace(images, pixels=images.pixels[..., rows, columns].contiguous())


def _has_classes(reference: ImageSet) -> bool:
    """Labels that number the images themselves, one or so each, are no classes whose shares could be matched."""
    return reference.labels is not None and len(torch.unique(reference.labels)) <= len(reference) / _PER_CLASS


def _class_matched(reference: ImageSet, control: ImageSet, needed: int, seed: int) -> tuple[ImageSet, ClassMatch]:
    """As many controls as can have nearly the reference's shares of classes, where enough remain.

    Nearly: the shares differ by at most `_SHARE_APART` in all, so that one rare class does not cost most controls.
    """
    assert reference.labels is not None
    assert control.labels is not None
    classes, counts = torch.unique(reference.labels, return_counts=True)
    available = torch.tensor([int((control.labels == label).sum()) for label in classes.tolist()])
    given = len(control)
    if int(available.sum()) == given and _apart(available, counts) <= _SHARE_APART:
        return control, ClassMatch(matched=True, given=given, kept=given, reason="")
    wanted = _largest(available, counts)
    n_wanted = int(wanted.sum())
    if n_wanted < needed:
        reason = (
            f"Only {n_wanted} of {given} controls can have the reference's shares of classes, {needed} are needed: "
            "differences between classes may look like membership. Give more controls of its classes, or controls "
            "without labels if classes are no difference between the two sets."
        )
        return control, ClassMatch(matched=False, given=given, kept=given, reason=reason)
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for label, count in zip(classes.tolist(), wanted.tolist(), strict=True):
        places = (control.labels == label).nonzero().flatten()
        kept.append(places[torch.randperm(len(places), generator=generator)[:count]])
    chosen = set(torch.cat(kept).tolist())
    matched = without(control, [i for i in range(given) if i not in chosen])
    reason = f"{len(matched)} of {given} controls, drawn so that classes have the shares they have in the reference."
    return matched, ClassMatch(matched=True, given=given, kept=len(matched), reason=reason)


def _largest(available: Tensor, counts: Tensor) -> Tensor:
    """(K,) controls of each class: the most that are not too far from shares proportional to `counts`."""
    ratios = torch.unique(available / counts).flip(0)
    for ratio in ratios.tolist():
        wanted = torch.minimum(available, (ratio * counts + ROUNDING).floor().long())
        if int(wanted.sum()) and _apart(wanted, counts) <= _SHARE_APART:
            return wanted
    return torch.zeros_like(available)


def _apart(one: Tensor, other: Tensor) -> float:
    """Total variation distance between two sets of shares, in [0, 1]."""
    return float((one / one.sum().clamp_min(1) - other / other.sum()).abs().sum()) / 2
