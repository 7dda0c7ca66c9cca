"""`reconstructions.safetensors` as checked arrays, and pictures as WebP data URIs.

In: the file a scan wrote beside `result.json`. Out: `Pictures`, and strings for `<img src>`. Must not know torch, nor
which pictures a report chooses to show.

Hiding destroys pixels: what is embedded is at most `HIDDEN_SIDE` pixels wide and high, so nobody can undo it.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open

from privaudit.errors import ResultError
from privaudit.result import AuditResult

FILE_NAME = "reconstructions.safetensors"

HIDDEN_SIDE = 4
"""Long side in pixels of a hidden picture: block averages of an eighth of a CIFAR image show colour, no subject."""

SHOWN_SIDE = 72
"""Long side in pixels above which shown pictures are reduced: 90 of them as noise then stay below 2 MB of base64."""

SHEET_COLUMNS = 25
"""Pairs a row of a sheet: 800 pixels of CIFAR images, which a phone still shows."""

SHEET_SIDE = 48
"""Long side in pixels above which the pictures of a sheet are reduced."""

SHEET_BYTES = 700_000
"""Size from which a sheet gives up being lossless; two of them as base64 stay below 2 MB."""

PER_RECONSTRUCTION = ("multipliers", "restart", "objective", "confidence", "best_match")
PER_RECORD = ("record_index", "record_images", "control_images")


@dataclass(frozen=True)
class Pictures:
    """Pixels behind a result. M reconstructions, R records with pictures; the last three are None without a reference.

    Attributes:
        images: (M, C, H, W) float32, clipped to [0, 1].
        multipliers: (M, ...) of each reconstruction.
        restart: (M, ...) which restart it came from.
        objective: (M, ...) which objective it came from.
        confidence: (M,) higher is better, truth-free.
        best_match: (M,) int64 index into `evidence.records`, -1 for none.
        record_index: (R,) int64 indices into `evidence.records`.
        record_images: (R, C, H, W) uint8 training images.
        control_images: (R, C, H, W) uint8, the control nearest to that record's reconstruction.
    """

    images: NDArray[np.float32]
    multipliers: NDArray[np.generic]
    restart: NDArray[np.generic]
    objective: NDArray[np.generic]
    confidence: NDArray[np.float32]
    best_match: NDArray[np.int64]
    record_index: NDArray[np.int64] | None = None
    record_images: NDArray[np.uint8] | None = None
    control_images: NDArray[np.uint8] | None = None


def read_pictures(path: Path, result: AuditResult) -> Pictures | None:
    """Read and check the pictures of a result; None where the file does not exist.

    Raises:
        ResultError: unreadable, an array missing or of the wrong shape, or indices that do not fit `result`.
    """
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ResultError(
            f"expected reconstructions in {path}, found: {error}; scan again to write them anew"
        ) from None
    problem = _missing(arrays) or _misshapen(arrays) or _unfitting(arrays, metadata, result)
    if problem:
        raise ResultError(f"expected the pictures of this result in {path}, found {problem}; scan again")
    return Pictures(
        images=np.clip(arrays["images"], 0, 1).astype(np.float32),
        confidence=arrays["confidence"].astype(np.float32),
        **{name: arrays[name] for name in PER_RECONSTRUCTION if name != "confidence"},
        **{name: arrays[name] for name in PER_RECORD if name in arrays},
    )


def _missing(arrays: dict[str, NDArray[np.generic]]) -> str:
    absent = [name for name in ("images", *PER_RECONSTRUCTION) if name not in arrays]
    if absent:
        return f"no {', '.join(absent)}"
    present = [name for name in PER_RECORD if name in arrays]
    if present and len(present) < len(PER_RECORD):
        return f"{', '.join(present)} without {', '.join(sorted(set(PER_RECORD) - set(present)))}"
    return ""


def _misshapen(arrays: dict[str, NDArray[np.generic]]) -> str:
    images = arrays["images"]
    if images.ndim != 4 or images.dtype != np.float32 or 0 in images.shape[1:]:
        return f"images of {images.dtype} {images.shape} instead of float32 (M, C, H, W)"
    if not np.isfinite(images).all():
        return "pixels that are not finite"
    for name in PER_RECONSTRUCTION:
        if arrays[name].shape[:1] != images.shape[:1]:
            return f"{name} of shape {arrays[name].shape} for {len(images)} images"
    for name in ("confidence", "best_match"):
        if arrays[name].ndim != 1:
            return f"{name} of shape {arrays[name].shape} instead of one number an image"
    if "record_index" not in arrays:
        return ""
    wanted = (len(arrays["record_index"]), *images.shape[1:])
    for name in ("record_images", "control_images"):
        if arrays[name].shape != wanted or arrays[name].dtype != np.uint8:
            return f"{name} of {arrays[name].dtype} {arrays[name].shape} instead of uint8 {wanted}"
    return ""


def _unfitting(arrays: dict[str, NDArray[np.generic]], metadata: dict[str, str], result: AuditResult) -> str:
    """Whether the file belongs to this result."""
    if metadata.get("model_sha256", result.model.sha256) != result.model.sha256:
        return "pictures of another model"
    n_records = len(result.evidence.records) if result.evidence else 0
    for name in ("best_match", "record_index"):
        indices = arrays.get(name)
        if indices is None:
            continue
        if not np.issubdtype(indices.dtype, np.integer) or indices.ndim != 1:
            return f"{name} of {indices.dtype} {indices.shape} instead of int64"
        lowest = -1 if name == "best_match" else 0
        if indices.size and not (lowest <= int(indices.min()) and int(indices.max()) < n_records):
            return f"{name} outside the {n_records} records of the result"
    if result.evidence and any(not -1 <= r.reconstruction < len(arrays["images"]) for r in result.evidence.records):
        return f"{len(arrays['images'])} images, fewer than the records refer to"
    return ""


def data_uri(pixels: NDArray[np.generic], reveal: bool) -> str:
    """A lossless WebP data URI of one picture.

    Args:
        pixels: (C, H, W), float in [0, 1] or uint8. One channel is grey, three are RGB, of any other number the mean.
        reveal: False embeds block averages, at most `HIDDEN_SIDE` pixels a side; True at most `SHOWN_SIDE`.
    """
    return _uri(_encoded(_reduced(pixels, SHOWN_SIDE if reveal else HIDDEN_SIDE, reveal)))


def sheet_uri(pairs: Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]], reveal: bool) -> str:
    """A WebP data URI of many pairs in one picture, row by row, the first of each pair above the second.

    Lossless where that stays below `SHEET_BYTES`, otherwise at the best quality, then half the size, that does.

    Args:
        pairs: pictures (C, H, W) of one size, as for `data_uri`.
        reveal: False embeds block averages, as for `data_uri`; True at most `SHEET_SIDE` pixels a side.
    """
    side = SHEET_SIDE if reveal else HIDDEN_SIDE
    tiles = [[_reduced(pixels, side, reveal) for pixels in pair] for pair in pairs]
    width, height = tiles[0][0].size
    gap = max(1, width // 12)
    step = (width + gap, 2 * height + 2 * gap)
    n_rows, n_columns = -(-len(tiles) // SHEET_COLUMNS), min(SHEET_COLUMNS, len(tiles))
    sheet = Image.new("RGBA", (n_columns * step[0] - gap, n_rows * step[1] - 2 * gap))  # transparent between pairs
    for place, pair in enumerate(tiles):
        row, column = divmod(place, SHEET_COLUMNS)
        for half, tile in enumerate(pair):
            sheet.paste(tile, (column * step[0], row * step[1] + half * height))
    encoded = _encoded(sheet)
    for shrink, quality in ((1, 90), (1, 75), (1, 50), (1, 25), (2, 50), (2, 25)):
        if len(encoded) <= SHEET_BYTES:
            break
        encoded = _encoded(sheet if shrink == 1 else sheet.reduce(shrink), quality)
    return _uri(encoded)


def _reduced(pixels: NDArray[np.generic], side: int, reveal: bool) -> Image.Image:
    """At most `side` pixels a side; what is hidden never keeps its own size."""
    image = _pillow(pixels)
    scale = side / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.resize(size, Image.Resampling.BOX)
    return image if reveal else image.resize((1, 1), Image.Resampling.BOX)


def _encoded(image: Image.Image, quality: int | None = None) -> bytes:
    stream = io.BytesIO()
    if quality is None:
        image.save(stream, "WEBP", lossless=True, quality=100, method=4, exact=True)
    else:
        image.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()


def _uri(encoded: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")


def _pillow(pixels: NDArray[np.generic]) -> Image.Image:
    scaled = pixels if pixels.dtype == np.uint8 else np.rint(np.clip(pixels.astype(np.float64), 0, 1) * 255)
    if scaled.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(scaled.astype(np.uint8).transpose(1, 2, 0)), "RGB")
    return Image.fromarray(np.rint(scaled.astype(np.float64).mean(axis=0)).astype(np.uint8), "L")
