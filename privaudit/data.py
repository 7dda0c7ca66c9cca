"""Reference and control images as one type.

In: what a user typed. Out: an `ImageSet` of the network's own shape, pixels in [0, 1]. Must not know networks.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from privaudit.errors import DataError
from privaudit.image_readers import RawImages, Shape, read_folder, read_npz, read_torchvision, shape_problem
from privaudit.text import one_line

# Two pictures of one scene in different compression correlate above this; different scenes practically never do.
_DUPLICATE_NCC = 0.995
# Side of the tiles in which pairs are compared: bounds memory, at about 150 MB for images of 3x32x32.
_TILE = 2048
# Rough images of at most this many values a channel and side decide which pairs are worth a full comparison.
_ROUGH_SIDE = 8


@dataclass(frozen=True)
class ImageSet:
    """Images that a user names: the reference (training images) or controls (never trained on).

    Attributes:
        pixels: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, or None when the source has none.
        names: N names unique within the set (file name relative to the folder, or index); shown with `--reveal` only.
        source: what the user typed.
        classes: names of the classes that labels number, or None where the source has no names for them.
    """

    pixels: Tensor
    labels: Tensor | None
    names: tuple[str, ...]
    source: str
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.pixels)


def load_images(source: str, *, input_shape: tuple[int, int, int] | None, role: str) -> ImageSet:
    """Read a set of images.

    Args:
        source: a directory of images or of class folders, `file.npz`, `file.npz:PREFIX` or `torchvision:NAME`.
        input_shape: (C, H, W) that the network takes; None: all images must have the shape of the first.
        role: `reference` or `control`, for messages; of a torchvision data set a control is the test part.

    Raises:
        DataError: missing, empty, damaged, or of another shape; nothing is resized.
    """
    raw = _read(source, input_shape, role)
    if not len(raw.pixels):
        raise DataError(f"expected {role} images in {source}, found none; name a source with at least one image")
    found = raw.pixels.shape[1:]
    if input_shape is not None and found != torch.Size(input_shape):
        raise shape_problem(role, input_shape, tuple(found), source)
    if 0 in found:
        raise DataError(f"expected {role} images in {source}, found images without pixels; check the array")
    pixels = raw.pixels.float().div_(255) if raw.pixels.dtype == torch.uint8 else raw.pixels
    return ImageSet(pixels.contiguous(), raw.labels, raw.names, source, raw.classes)


def _read(source: str, expected: Shape | None, role: str) -> RawImages:
    path = Path(source)
    if source.startswith("torchvision:"):
        return read_torchvision(source.removeprefix("torchvision:"), expected, role)
    if path.is_dir():
        return read_folder(path, expected, role)
    if source.endswith(".npz"):
        return read_npz(path, None, expected, role)
    file, suffix, prefix = source.rpartition(".npz:")
    if suffix:
        return read_npz(Path(f"{file}.npz"), prefix, expected, role)
    found = "a file of another type" if path.exists() else "no such file or folder"
    raise DataError(
        f"expected {role} images as a folder, file.npz, file.npz:PREFIX or torchvision:NAME, found {found} at "
        f"{one_line(source)}; check the path"
    )


def without(images: ImageSet, indices: Iterable[int]) -> ImageSet:
    """The set without the images at `indices` (0-based; repeated ones count once).

    Raises:
        IndexError: an index outside the set.
    """
    dropped = set(indices)
    if dropped and not (min(dropped) >= 0 and max(dropped) < len(images)):
        raise IndexError(f"indices must lie in 0..{len(images) - 1}, found {min(dropped)}..{max(dropped)}")
    kept = [index for index in range(len(images)) if index not in dropped]
    return ImageSet(
        pixels=images.pixels[kept],
        labels=None if images.labels is None else images.labels[kept],
        names=tuple(images.names[index] for index in kept),
        source=images.source,
        classes=images.classes,
    )


def with_labels_of(reference: ImageSet, images: ImageSet) -> ImageSet:
    """The images with labels that mean what the reference's mean.

    Folders number their classes in the order of their names: a class that is missing on one side would shift all later
    ones. Where both sides name classes, the images' are found by name, and names that the reference does not have get
    numbers that it does not have. Where only one side names them, nothing says which class is which: no labels.
    """
    if images.labels is None or reference.labels is None or reference.classes == images.classes:
        return images
    if reference.classes is None or images.classes is None:
        return replace(images, labels=None, classes=None)
    known = {name: number for number, name in enumerate(reference.classes)}
    further = len(known)
    numbers = []
    for name in images.classes:
        numbers.append(known.get(name, further))
        further += name not in known
    return replace(images, labels=torch.tensor(numbers)[images.labels], classes=None)


def first_of_equals(images: ImageSet) -> list[int]:
    """(N,) index of the first image with exactly the same pixels; an image of its own has its own."""
    seen: dict[bytes, int] = {}
    return [seen.setdefault(_content_digest(image), index) for index, image in enumerate(images.pixels)]


def find_duplicates(reference: ImageSet, control: ImageSet) -> tuple[tuple[int, int], ...]:
    """Pairs (index in reference, index in control), ascending, of images that are the same or nearly the same.

    Nearly: normalised cross-correlation of the mean-free pixels above 0.995. Images of one single colour have no
    correlation and count only when equal. Works in tiles: memory does not grow with the number of pairs. Unit vectors
    that close lie within sqrt(2 - 2 NCC) of each other in every projection too, so a tile is first compared on
    block means, and only images with such a neighbour in full.
    """
    if not len(reference) or not len(control):
        return ()
    pairs = set(_equal_pairs(reference.pixels, control.pixels))
    for start in range(0, len(reference), _TILE):
        left = _unit_vectors(reference.pixels[start : start + _TILE])
        for offset in range(0, len(control), _TILE):
            right = _unit_vectors(control.pixels[offset : offset + _TILE])
            pairs |= {(start + i, offset + j) for i, j in _close_pairs(left, right)}
    return tuple(sorted(pairs))


def _equal_pairs(reference: Tensor, control: Tensor) -> list[tuple[int, int]]:
    by_content: dict[bytes, list[int]] = {}
    for index, image in enumerate(reference):
        by_content.setdefault(_content_digest(image), []).append(index)
    return [(i, j) for j, image in enumerate(control) for i in by_content.get(_content_digest(image), ())]


def _content_digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def _unit_vectors(pixels: Tensor) -> Tensor:
    """(N, C, H, W), mean-free and of length 1; single-coloured images become zeros."""
    centred = pixels - pixels.mean(dim=(1, 2, 3), keepdim=True)
    lengths = centred.flatten(1).norm(dim=1)
    # Below a thousandth of a grey level a pixel, what remains is rounding.
    is_flat = lengths < 1e-3 / 255 * centred[0].numel() ** 0.5
    scale = torch.where(is_flat, torch.zeros_like(lengths), 1 / lengths.clamp_min(1e-30))
    return centred * scale[:, None, None, None]


def _close_pairs(left: Tensor, right: Tensor) -> list[tuple[int, int]]:
    rough_left, rough_right = _rough(left), _rough(right)
    squares = rough_left.square().sum(1)[:, None] + rough_right.square().sum(1)[None, :]
    # A little slack: rounding must not lose a pair here, the full comparison decides.
    is_near = squares - 2 * rough_left @ rough_right.T < 2 - 2 * _DUPLICATE_NCC + 1e-4
    rows, columns = is_near.any(dim=1).nonzero().flatten(), is_near.any(dim=0).nonzero().flatten()
    if not len(rows):
        return []
    ncc = left[rows].flatten(1) @ right[columns].flatten(1).T
    found = (ncc > _DUPLICATE_NCC).nonzero()
    return [(int(rows[i]), int(columns[j])) for i, j in found.tolist()]


def _rough(vectors: Tensor) -> Tensor:
    """(N, k): means over blocks, scaled so that it is an orthogonal projection (no distance grows)."""
    height, width = vectors.shape[2:]
    block = (max(height // _ROUGH_SIDE, 1), max(width // _ROUGH_SIDE, 1))
    means: Tensor = torch.nn.functional.avg_pool2d(vectors, block, stride=block)
    return means.flatten(1) * math.sqrt(block[0] * block[1])
