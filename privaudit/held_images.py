"""Reference and controls made fit for counting: every picture once, none in both, controls of the same classes.

In: two `ImageSet`. Out: `HeldImages`. What is left out is named, never silently. Must not know networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor

import torch

from privaudit.data import ImageSet, find_duplicates, without
from privaudit.errors import DataError
from privaudit.statistics import ROUNDING

_MOST_PAIRS = 50_000_000
"""Pairs up to which shifted copies are looked for too: half a minute on a core for 32×32 pixels."""

_LEAST_SIDE = 8
"""Pixels; shifted copies of smaller images agree in too few pixels to be told from chance."""


@dataclass(frozen=True)
class ClassMatched:
    """Field meanings as in `privaudit.result.ClassMatch`."""

    matched: bool
    given: int
    kept: int
    reason: str


@dataclass(frozen=True)
class HeldImages:
    """What the user holds, fit for counting.

    Attributes:
        reference: training images, each picture once.
        control: images never trained on, each once and none in the reference; None where none were given.
        duplicates: names of controls left out because the reference holds the same picture, also mirrored or shifted.
        near_duplicates: groups of names in the reference (or among the controls) that show one picture; the first
            stays, the others are left out.
        class_match: whether classes have equal shares; None without labels on both sides.
    """

    reference: ImageSet
    control: ImageSet | None
    duplicates: tuple[str, ...] = ()
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    class_match: ClassMatched | None = None


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
    copies = sorted({index for _, index in _copies(reference, control)})
    if len(copies) == len(control):
        raise DataError(
            f"expected controls that were not trained on in {control.source}, found every one of its {len(control)} "
            f"images also in the reference {reference.source}; name other images"
        )
    names = tuple(control.names[i] for i in copies)
    control, further = _each_once(without(control, copies))
    matched: ClassMatched | None = None
    if reference.labels is not None and control.labels is not None:
        control, matched = _class_matched(reference, control, ceil(1 / fpr - ROUNDING), seed)
    return HeldImages(reference, control, names, groups + further, matched)


def _each_once(images: ImageSet) -> tuple[ImageSet, tuple[tuple[str, ...], ...]]:
    """The first of every group of near-duplicates, and the groups by name."""
    first = list(range(len(images)))
    for i, j in find_duplicates(images, images):
        if i < j:
            first[j] = min(first[j], first[i])
    repeated = [j for j, i in enumerate(first) if i != j]
    if not repeated:
        return images, ()
    groups: dict[int, list[str]] = {}
    for j in repeated:
        groups.setdefault(first[j], [images.names[first[j]]]).append(images.names[j])
    return without(images, repeated), tuple(tuple(group) for group in groups.values())


def _copies(reference: ImageSet, control: ImageSet) -> Iterator[tuple[int, int]]:
    """Pairs (reference, control) of one picture: as it is, mirrored, or shifted by a pixel.

    A trained-on picture among the controls raises the threshold and hides leaks; the cheapest disguises are those of
    data augmentation. Correlation does not see brightness and contrast, so these need no search of their own.
    """
    mirrored = replace(control, pixels=control.pixels.flip(-1))
    for candidate in (control, mirrored):
        yield from find_duplicates(reference, candidate)
    is_small = min(reference.pixels.shape[-2:]) < _LEAST_SIDE
    if is_small or len(reference) * len(control) > _MOST_PAIRS:
        return
    inner = _window(reference, 0, 0)
    for candidate in (control, mirrored):
        for down, right in [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]:
            yield from find_duplicates(inner, _window(candidate, down, right))


def _window(images: ImageSet, down: int, right: int) -> ImageSet:
    """All but a border of one pixel, moved by one at most."""
    height, width = images.pixels.shape[-2:]
    rows, columns = slice(1 + down, height - 1 + down), slice(1 + right, width - 1 + right)
    return replace(images, pixels=images.pixels[..., rows, columns].contiguous())


def _class_matched(reference: ImageSet, control: ImageSet, needed: int, seed: int) -> tuple[ImageSet, ClassMatched]:
    """As many controls as can have the reference's shares of classes, where enough remain."""
    assert reference.labels is not None
    assert control.labels is not None
    classes, counts = torch.unique(reference.labels, return_counts=True)
    available = torch.tensor([int((control.labels == label).sum()) for label in classes.tolist()])
    given = len(control)
    share = float((available / counts).min())
    wanted = [floor(share * count + ROUNDING) for count in counts.tolist()]
    if sum(wanted) == given:
        return control, ClassMatched(True, given, given, "")
    if sum(wanted) < needed:
        reason = (
            f"Only {sum(wanted)} of {given} controls can have the reference's shares of classes, {needed} are needed, "
            "so all are used: differences between classes may look like leaks or hide them."
        )
        return control, ClassMatched(False, given, given, reason)
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for label, count in zip(classes.tolist(), wanted, strict=True):
        places = (control.labels == label).nonzero().flatten()
        kept.append(places[torch.randperm(len(places), generator=generator)[:count]])
    chosen = set(torch.cat(kept).tolist())
    matched = without(control, [i for i in range(given) if i not in chosen])
    reason = f"{len(matched)} of {given} controls, drawn so that every class has the share it has in the reference."
    return matched, ClassMatched(True, given, len(matched), reason)
