"""Pixels from where a user keeps images: a directory, an `.npz`, a torchvision data set.

Out: `RawImages`. Knows what shape is wanted, but nothing of models or of what the images are for. Nothing is resized or
converted with loss.
"""

import contextlib
import difflib
import inspect
import os
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from privaudit.errors import DataError
from privaudit.text import listed, natural_key, one_line

Shape = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")


@dataclass(frozen=True)
class RawImages:
    """Unchecked images: (N, C, H, W) uint8 or float32 in [0, 1], labels (N,) int64 or None, N names.

    `classes`: names of the classes that labels number, where the source names them.
    """

    pixels: Tensor
    labels: Tensor | None
    names: tuple[str, ...]
    classes: tuple[str, ...] | None = None


def shape_problem(role: str, expected: Shape, found: object, where: str) -> DataError:
    """The error for images of another shape than the network's (or than the set's first image)."""
    shown = "x".join(map(str, found)) if isinstance(found, tuple) else found
    wanted = "x".join(map(str, expected))
    return DataError(
        f"expected {role} images of {wanted} (channels x height x width), found {shown} in {where}; "
        "prepare the images as the training did, nothing is resized here"
    )


def read_folder(folder: Path, expected: Shape | None, role: str) -> RawImages:
    """PNG, JPEG, BMP and WebP files, in natural order, those of class folders (recursively) or those right in `folder`.

    Labels number the class folders in the order of their names as torchvision's ImageFolder does, which training
    scripts use; a flat folder has none. Hidden files and files of other types are ignored.

    Raises:
        DataError: no images, images in class folders and beside them too, an unreadable one, or differing shapes.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    flat = _images_in(folder.iterdir(), folder)
    by_class = [_images_in(path.rglob("*"), folder) for path in classes]
    if flat and any(by_class):
        raise DataError(
            f"expected {role} images either in class folders or right in {folder}, found both "
            f"({one_line(flat[0].name)} is beside the folders); move one of them away"
        )
    files = flat or [file for files in by_class for file in files]
    if not files:
        raise DataError(
            f"expected {role} images in {folder}, found no PNG, JPEG, BMP or WebP file; "
            "name a folder of images or of class folders, or an .npz"
        )
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    pixels = _stack(
        ((name, _open(file, expected, role)) for name, file in zip(names, files, strict=True)), expected, role
    )
    labels = None if flat else torch.tensor([label for label, found in enumerate(by_class) for _ in found])
    return RawImages(pixels, labels, names, None if flat else tuple(path.name for path in classes))


def _images_in(paths: Iterable[Path], root: Path) -> list[Path]:
    visible = (p for p in paths if not any(part.startswith(".") for part in p.relative_to(root).parts))
    images = (path for path in visible if path.suffix.lower() in _SUFFIXES and path.is_file())
    return sorted(images, key=lambda path: natural_key(path.relative_to(root).as_posix()))


def _open(file: Path, expected: Shape | None, role: str) -> Pixels:
    try:
        with Image.open(file, formats=_FORMATS) as image:
            # Before decoding, so that a bomb of another size is never unpacked.
            if expected is not None and (image.height, image.width) != expected[1:]:
                raise shape_problem(role, expected, f"{image.mode} of {image.height}x{image.width}", str(file))
            return channels_first(image, str(file), role)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, zlib.error) as error:
        raise DataError(
            f"expected a readable image, found {file} corrupt ({one_line(error, 80)}); remove or replace it"
        ) from None


def channels_first(image: Image.Image, where: str, role: str) -> Pixels:
    """(C, H, W) uint8 of an 8-bit image; only conversions that lose nothing are made.

    Raises:
        DataError: transparency, 16 bits, CMYK, an animation.
    """
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"expected one image a file, found an animation in {where}; extract its frames")
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P" and "transparency" not in image.info:
        image = image.convert("RGB")
    elif image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert(image.mode[:-1])
    if image.mode not in ("L", "RGB"):
        raise DataError(
            f"expected {role} images in 8-bit grey or RGB, found mode {image.mode} in {where}; "
            "convert them as the training did"
        )
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _stack(images: Iterable[tuple[str, Pixels]], expected: Shape | None, role: str) -> Tensor:
    """(N, C, H, W) uint8; every image must have the expected shape, or else that of the first."""
    arrays = []
    for name, array in images:
        expected = expected or array.shape
        if array.shape != expected:
            raise shape_problem(role, expected, array.shape, name)
        arrays.append(array)
    return torch.from_numpy(np.stack(arrays))


def read_npz(file: Path, prefix: str | None, expected: Shape | None, role: str) -> RawImages:
    """`images` with `labels`, or `x` with `y`, or `PREFIX_images` with `PREFIX_labels`; labels may be absent.

    Layouts (N, H, W), (N, H, W, C) and (N, C, H, W); uint8, or floats in [0, 1]. Pickled arrays are not read.

    Raises:
        DataError: missing, damaged, keys missing, another layout, type or range, or labels that do not fit.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            keys = _npz_keys(tuple(archive), prefix, file, role)
            images = archive[keys[0]]
            labels = archive[keys[1]] if keys[1] is not None else None
    except FileNotFoundError:
        raise DataError(f"expected {role} images at {file}, found no such file; check the path") from None
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"expected an .npz of plain arrays at {file}, found: {one_line(error, 100)}; write it with numpy.savez"
        ) from None
    pixels = _npz_pixels(images, f"{file}:{keys[0]}", expected, role)
    names = tuple(str(index) for index in range(len(pixels)))
    return RawImages(pixels, None if labels is None else _npz_labels(labels, len(pixels), f"{file}:{keys[1]}"), names)


def _npz_keys(keys: tuple[str, ...], prefix: str | None, file: Path, role: str) -> tuple[str, str | None]:
    start = f"{prefix}_" if prefix else ""
    for images, labels in (("images", "labels"), ("x", "y")):
        if start + images in keys:
            return start + images, start + labels if start + labels in keys else None
    prefixes = [key.removesuffix("_images") for key in keys if key.endswith("_images")]
    hint = f"name it as {file}:{prefixes[0]}" if prefixes else "name the arrays images and labels"
    raise DataError(f"expected {role} images under {start}images or {start}x in {file}, found {listed(keys)}; {hint}")


def _npz_pixels(images: npt.NDArray[Any], where: str, expected: Shape | None, role: str) -> Tensor:
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"expected uint8 or floats in [0, 1], found {images.dtype} in {where}; convert the images")
    pixels = _first_channels(images, where, expected, role)
    if images.dtype != np.uint8 and images.size:
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"expected floats in [0, 1], found [{low:.3g}, {high:.3g}] in {where}; "
                "store pixels before normalisation, divided by 255"
            )
    as_stored = pixels if images.dtype == np.uint8 else pixels.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(as_stored))


def _first_channels(images: npt.NDArray[Any], where: str, expected: Shape | None, role: str) -> npt.NDArray[Any]:
    """(N, C, H, W), by the expected shape where there is one, else by which axis has 1 or 3 entries."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        found = "x".join(map(str, images.shape))
        raise DataError(
            f"expected (N, H, W), (N, H, W, C) or (N, C, H, W), found {found} in {where}; reshape the array"
        )
    shape = images.shape[1:]
    last = (shape[2], shape[0], shape[1])
    is_first = shape == expected if expected else shape[0] in (1, 3)
    is_last = last == expected if expected else shape[2] in (1, 3)
    if is_first and is_last and len(set(shape)) > 1 and expected is None:
        is_first = False
    if is_first and is_last and set(shape) != {1}:
        raise DataError(
            f"expected channels to be told from height and width, found {'x'.join(map(str, shape))} in {where}; "
            "store the images in an unambiguous form, such as files"
        )
    if expected and not (is_first or is_last):
        raise shape_problem(role, expected, shape, where)
    if not (is_first or is_last):
        raise DataError(
            f"expected 1 or 3 channels first or last, found {'x'.join(map(str, shape))} in {where}; "
            "state the input shape"
        )
    return images if is_first else images.transpose(0, 3, 1, 2)


def _npz_labels(labels: npt.NDArray[Any], n_images: int, where: str) -> Tensor:
    flat = labels.reshape(-1)
    if len(flat) != n_images:
        raise DataError(f"expected {n_images} labels, one an image, found {len(flat)} in {where}; store them in pairs")
    is_number = np.issubdtype(flat.dtype, np.integer) or np.issubdtype(flat.dtype, np.floating)
    if not is_number or not np.array_equal(flat, np.trunc(flat)):
        raise DataError(f"expected whole numbers as labels, found {flat.dtype} in {where}; store class numbers")
    return torch.from_numpy(flat.astype(np.int64))


def read_torchvision(name: str, expected: Shape | None, role: str) -> RawImages:
    """The data set's training part, or its test part where `role` is `control`.

    It lies in, or is downloaded to, the folder in the environment variable PRIVAUDIT_DATA (default ~/.cache/privaudit).

    Raises:
        DataError: unknown, neither there nor to be downloaded, or not made of images of one shape.
    """
    root = Path(os.environ.get("PRIVAUDIT_DATA") or Path.home() / ".cache" / "privaudit")
    dataset = _torchvision_dataset(name, root, role)
    labels: list[Any] = []

    def images() -> Iterator[tuple[str, Pixels]]:
        for index in range(len(dataset)):
            image, label, *_ = dataset[index]
            if not isinstance(image, Image.Image):
                raise DataError(f"expected images in torchvision:{name}, found {type(image).__name__}; use an .npz")
            labels.append(label)
            yield str(index), channels_first(image, f"torchvision:{name}, image {index}", role)

    try:
        if not len(dataset):
            raise DataError(f"expected images in torchvision:{name}, found none; choose another data set")
        pixels = _stack(images(), expected, role)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"expected images in torchvision:{name}, found: {one_line(error, 120)}; use an .npz") from None
    has_labels = all(isinstance(label, int) for label in labels)
    return RawImages(pixels, torch.tensor(labels) if has_labels else None, tuple(map(str, range(len(pixels)))))


def _torchvision_dataset(name: str, root: Path, role: str) -> Any:
    # Imported here: it takes seconds, and few scans need it.
    from torchvision import datasets

    family: Any = vars(datasets).get(name)
    if not isinstance(family, type) or "root" not in inspect.signature(family).parameters:
        close = listed(difflib.get_close_matches(name, vars(datasets))) or "CIFAR10, MNIST"
        raise DataError(f"expected a torchvision data set, found {one_line(name, 40)!r}; did you mean {close}?")
    known = inspect.signature(family).parameters
    is_control = role == "control"
    split = {"train": not is_control} if "train" in known else {"split": "test" if is_control else "train"}
    settings = {key: value for key, value in {**split, "download": True}.items() if key in known}
    try:
        # Some announce downloads on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return family(root=str(root), **settings)
    except Exception as error:
        raise DataError(
            f"expected torchvision:{name} in {root} or to be downloaded, found {type(error).__name__}: "
            f"{one_line(error, 120)}; put it there (or name its folder in PRIVAUDIT_DATA), or use a folder or an .npz"
        ) from None
