"""The files of a trained target.

In: what was trained on what. Out: files that a scan and a repetition read. Must not know how it was trained.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save
from torch import Tensor, nn

from privaudit.config_sources import FILE_NAME
from privaudit.preprocessing import mean_file
from privaudit.result_file import write_private
from privaudit.study.images import TrainingImages
from privaudit.study.interface import IMAGES_FILE, MODEL_FILE, SETTINGS_FILE, SUMMARY_FILE, TrainingSummary
from privaudit.study.recipe import Recipe, absolute
from privaudit.study.targets import metadata
from privaudit.study.text import as_toml


def write_target(
    out: Path,
    recipe: Recipe,
    network: nn.Module,
    mean: Tensor,
    images: TrainingImages,
    summary: TrainingSummary,
) -> None:
    """Everything but the log; the checkpoint last, so that where it is there is all of it.

    Args:
        out: folder.
        recipe: how it was trained.
        network: the trained one.
        mean: (C, H, W) in [0, 1], which was subtracted from its inputs.
        images: what it was trained on, and controls.
        summary: how training ended.

    Raises:
        OutputError: `out` cannot be written.
    """
    said = metadata(recipe, images.shape, images.n_outputs, len(images.members))
    controls = images.held_out.first(images.n_controls)
    arrays: dict[str, Any] = {
        f"{name}_{kind}": values
        for name, part in (("member", images.members), ("control", controls))
        for kind, values in (("images", _channels_last(part.pixels)), ("labels", part.labels.numpy()))
    }
    (out / MODEL_FILE).unlink(missing_ok=True)  # an earlier one would belong to other images
    write_private(out / IMAGES_FILE, _saved(lambda stream: np.savez(stream, **arrays)))
    write_private(mean_file(out / MODEL_FILE), _saved(lambda stream: np.save(stream, mean.numpy())))
    write_private(out / SETTINGS_FILE, as_toml({"": _repeatable(recipe)}).encode())
    scanned = {"reference": f"{IMAGES_FILE}:member", "control": f"{IMAGES_FILE}:control"}
    write_private(out / FILE_NAME, as_toml({"scan": scanned}).encode())
    write_private(out / SUMMARY_FILE, (summary.model_dump_json(indent=1) + "\n").encode())
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    write_private(out / MODEL_FILE, _in_order(save(tensors, metadata=said)))


def _in_order(data: bytes) -> bytes:
    """The same safetensors with the names in its header sorted: the library writes metadata in any order."""
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    header = text.encode()
    header += b" " * (-len(header) % 8)  # tensors stay aligned
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _repeatable(recipe: Recipe) -> dict[str, Any]:
    """Every setting, so that other defaults of a later version change nothing, with paths that hold anywhere."""
    values = recipe.model_dump(exclude_none=True)
    return {name: absolute(name, value, Path.cwd()) for name, value in values.items()}


def _channels_last(pixels: Tensor) -> npt.NDArray[np.uint8]:
    """(N, H, W, C), or (N, H, W) for one channel: forms that a reader takes for nothing else."""
    array = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    return array[..., 0] if array.shape[3] == 1 else array


def _saved(write: Callable[[io.BytesIO], None]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()
