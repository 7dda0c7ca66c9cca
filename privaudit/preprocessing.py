"""How pixels become the network's inputs: from options, a file, metadata, or the reference's mean image.

In: what the user and the checkpoint say. Out: a `Preprocessing`; its `source` says what the attacker was given.
Must not know networks; the reference is used for its mean image only.
"""

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from privaudit.adapters.interface import Preprocessing
from privaudit.data import ImageSet
from privaudit.errors import ConfigError, DataError
from privaudit.text import one_line

Shape = tuple[int, int, int]
_MEAN_IMAGE = re.compile(r"\bmean[ _-]image\b|\bimage[ _-]mean\b", re.IGNORECASE)
# What metadata says of inputs that are plain pixels in [0, 1].
_PLAIN = re.compile(r"\s*(none|pixels?\s*/\s*255)\s*", re.IGNORECASE)
_MID_GREY = 0.5


def resolve_preprocessing(
    mean: str | None,
    std: str | None,
    metadata: dict[str, str],
    input_shape: Shape,
    reference: ImageSet | None,
    checkpoint_path: Path,
) -> Preprocessing:
    """What turns pixels in [0, 1] into inputs; mean and deviation are each taken from the first place that states them.

    Args:
        mean: `reference`, a `.npy` file of shape (C, H, W), (H, W), (H, W, C) or (C,), or one number or one a channel,
            comma separated; None: from the metadata keys `preprocessing` and `mean`.
        std: a `.npy` file or numbers in the same forms; None: metadata key `std`, else ones.
        metadata: the checkpoint's.
        input_shape: (C, H, W) of the network's inputs.
        reference: for its mean image, where that is asked for or metadata says that it was subtracted.
        checkpoint_path: beside which `STEM.mean.npy` is looked for.

    Raises:
        ConfigError: `reference` is asked for and there is none.
        DataError: no numbers, an unreadable file, a wrong shape, a mean outside [0, 1], a deviation of 0 or less.
    """
    mean_values, mean_source = _mean(mean, metadata, input_shape, reference, checkpoint_path)
    deviation, deviation_source = _deviation(std, metadata, input_shape)
    deviation = torch.ones_like(mean_values) if deviation is None else deviation
    source = f"{mean_source}; {deviation_source}" if deviation_source else mean_source
    # `Preprocessing` wants the same shape for both.
    zeros = torch.zeros_like(mean_values) * torch.zeros_like(deviation)
    return Preprocessing(mean=mean_values + zeros, std=deviation + zeros, source=source)


def _mean(
    mean: str | None, metadata: dict[str, str], shape: Shape, reference: ImageSet | None, checkpoint_path: Path
) -> tuple[Tensor, str]:
    if mean == "reference":
        if reference is None:
            raise ConfigError(
                "expected a reference for --mean reference, found none; add --reference or name a .npy file"
            )
        return _mean_image(reference, shape), "mean image of the reference, given to the attacker by --mean reference"
    if mean is not None:
        told = one_line(Path(mean).name, 80)  # a folder's name is nobody's business: this line is published
        return _checked_mean(_values(mean, shape, "mean"), "--mean"), f"mean {told} given by --mean"
    stated = metadata.get("preprocessing", "")
    if _MEAN_IMAGE.search(stated):
        return _subtracted_mean_image(shape, reference, checkpoint_path)
    if "mean" in metadata:
        values = _checked_mean(_values(metadata["mean"], shape, "mean", is_file_allowed=False), "metadata mean")
        return values, f"mean {one_line(metadata['mean'], 80)} from the checkpoint's metadata"
    return torch.zeros(shape[0], 1, 1), _unstated(stated, metadata)


def _subtracted_mean_image(shape: Shape, reference: ImageSet | None, checkpoint_path: Path) -> tuple[Tensor, str]:
    sibling = mean_file(checkpoint_path)
    if sibling.is_file():
        values = _checked_mean(_file_values(sibling, shape, "mean"), str(sibling))
        return (
            values,
            f"mean image in {sibling.name} beside the checkpoint, which says that its training mean was subtracted",
        )
    if reference is not None:
        return _mean_image(reference, shape), (
            "mean image of the reference, given to the attacker because the checkpoint says its training mean was "
            "subtracted"
        )
    return torch.full((shape[0], 1, 1), _MID_GREY), (
        "mid-grey 0.5, a guess: the checkpoint says its training mean image was subtracted and neither the image nor a "
        "reference is given"
    )


def mean_file(checkpoint_path: Path) -> Path:
    """Where the mean image of a checkpoint is looked for: `STEM.mean.npy` beside it."""
    stem = Path(checkpoint_path.name.removesuffix(".index.json")).stem
    return checkpoint_path.with_name(f"{stem}.mean.npy")


def _unstated(stated: str, metadata: dict[str, str]) -> str:
    if "std" in metadata:
        return "no mean stated: none subtracted"
    if stated and not _PLAIN.fullmatch(stated):
        return (
            f"the checkpoint's preprocessing {one_line(stated, 80)!r} is not understood: inputs assumed to be pixels "
            "in [0, 1]"
        )
    return "no normalisation stated: inputs assumed to be pixels in [0, 1]"


def _deviation(std: str | None, metadata: dict[str, str], shape: Shape) -> tuple[Tensor | None, str]:
    if std is None and "std" not in metadata:
        return None, ""
    text = metadata["std"] if std is None else std
    values = _values(text, shape, "std", is_file_allowed=std is not None)
    if not bool((values > 0).all()):
        raise DataError(f"expected deviations above 0, found {values.min():.3g} in {one_line(text, 80)}; correct --std")
    where = "from the checkpoint's metadata" if std is None else "given by --std"
    return values, f"deviation {one_line(Path(text).name, 80)} {where}"


def _mean_image(reference: ImageSet, shape: Shape) -> Tensor:
    found = tuple(reference.pixels.shape[1:])
    if found != shape:
        raise DataError(
            f"expected reference images of {_text(shape)} for their mean image, found {_text(found)}; "
            "name the training images"
        )
    return reference.pixels.mean(dim=0)


def _checked_mean(values: Tensor, where: str) -> Tensor:
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise DataError(
            f"expected a mean in pixel units of [0, 1], found [{low:.3g}, {high:.3g}] in {one_line(where)}; "
            "divide by 255 if it is in grey levels"
        )
    return values


def _values(text: str, shape: Shape, what: str, *, is_file_allowed: bool = True) -> Tensor:
    """(C, H, W) or (C, 1, 1) float32 from a file name or numbers."""
    if is_file_allowed and text.endswith(".npy"):
        return _file_values(Path(text), shape, what)
    parts = [part for part in re.split(r"[,\s]+", text.strip(" []()")) if part]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        forms = "numbers or a .npy file" if is_file_allowed else "numbers"
        hint = ", or `reference`" if what == "mean" and is_file_allowed else ""
        raise DataError(
            f"expected the {what} as {forms}, found {one_line(text, 60)!r}; give one number or {shape[0]} of them{hint}"
        ) from None
    if len(numbers) not in (1, shape[0]):
        raise DataError(
            f"expected one number or {shape[0]} (one a channel) as the {what}, found {len(numbers)}; correct --{what}"
        )
    numbers = numbers * shape[0] if len(numbers) == 1 else numbers
    return _finite(torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1), what, text)


def _file_values(file: Path, shape: Shape, what: str) -> Tensor:
    try:
        array = np.load(file, allow_pickle=False)
        values = torch.from_numpy(np.asarray(array, dtype=np.float32))
    except FileNotFoundError:
        raise DataError(f"expected the {what} image at {file}, found no such file; check the path") from None
    except (OSError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise DataError(
            f"expected an array of numbers in {file}, found: {one_line(error, 80)}; write it with numpy.save"
        ) from None
    n_channels, height, width = shape
    found = tuple(values.shape)
    if found == (n_channels,):
        values = values.reshape(-1, 1, 1)
    elif found == (height, width) and n_channels == 1:
        values = values[None]
    elif found == (height, width, n_channels) and found != shape:
        values = values.permute(2, 0, 1)
    elif found != shape:
        raise DataError(
            f"expected the {what} image as {_text(shape)}, {height}x{width}x{n_channels} or {n_channels} numbers, "
            f"found {_text(found)} in {file}; save it in the network's shape"
        )
    return _finite(values, what, str(file))


def _finite(values: Tensor, what: str, where: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise DataError(
            f"expected finite numbers as the {what}, found NaN or infinity in {one_line(where, 80)}; correct it"
        )
    return values


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
