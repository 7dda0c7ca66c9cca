"""`torch.export` archives (`.pt2`): tensors and the program, read as JSON and raw bytes without unpickling anything.

`torch.export.load` itself unpickles and is not used. In: the archive's bytes. Out: tensors by their names in the
module, and the program as parsed JSON, which `adapters/exported.py` turns into a network. Knows no architectures.
"""

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from privaudit.errors import CheckpointError
from privaudit.text import one_line

# torch._export.serde.schema.ScalarType, what a network's weights and buffers can be.
_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_STRIDED = 7  # torch._export.serde.schema.Layout
_MARKER = "archive_format"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_PROGRAM = "models/model.json"
_LARGEST_PROGRAM = 64 * 2**20  # bytes of JSON; that of a ResNet-152 has 2 MiB
_SHARED = 4  # times the file that its tensors may hold: tied weights are stored once
_REMEDY = "write it with torch.export.save, or save the state dict"


def is_exported(data: bytes) -> bool:
    """Whether a zip file is an archive of `torch.export`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.rpartition("/")[2] == _MARKER for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def read_exported(data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, buffers and constants by name, and the program.

    Raises:
        CheckpointError: damaged, several models, compressed members, tensors that are stored as pickles or reach
            outside their bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            marker = next(name for name in archive.namelist() if name.rpartition("/")[2] == _MARKER)
            members = _Members(archive, marker.removesuffix(_MARKER))
            program = members.document(_PROGRAM)
            tensors = _tensors(members, _SHARED * len(data))
    except _Damaged as damaged:
        raise CheckpointError(f"expected an exported program in {path}, found {damaged}; {_REMEDY}") from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, RuntimeError) as error:
        found = f"an archive that cannot be read ({type(error).__name__}: {one_line(error, 80)})"
        raise CheckpointError(f"expected an exported program in {path}, found {found}; {_REMEDY}") from None
    return tensors, program


class _Damaged(Exception):
    """What was found instead of a program."""


class _Members:
    """Members of the archive under its one folder; stored, not compressed, so none is larger than the file."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive, self._folder = archive, folder

    def read(self, name: str) -> bytes:
        info = self._archive.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise _Damaged(f"the compressed member {one_line(name, 60)}")
        return self._archive.read(info)

    def document(self, name: str) -> dict[str, Any]:
        if self._archive.getinfo(self._folder + name).file_size > _LARGEST_PROGRAM:
            raise _Damaged(f"{one_line(name, 60)} of more than {_LARGEST_PROGRAM >> 20} MiB")
        try:
            document = json.loads(self.read(name))
        except RecursionError:
            raise _Damaged(f"{one_line(name, 60)} nested too deeply") from None
        if not isinstance(document, dict):
            raise _Damaged(f"{one_line(name, 60)} without an object in it")
        return document


def _tensors(members: _Members, most_bytes: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    n_bytes = 0
    for file, folder in ((_WEIGHTS, "data/weights/"), (_CONSTANTS, "data/constants/")):
        for name, entry in members.document(file).get("config", {}).items():
            tensors[name] = _tensor(members, folder, name, entry)
            n_bytes += tensors[name].nbytes
            if n_bytes > most_bytes:  # many names may share the bytes of one member
                raise _Damaged(f"tensors of more than {_SHARED} times the file's size")
    return tensors


def _tensor(members: _Members, folder: str, name: str, entry: dict[str, Any]) -> Tensor:
    shown = one_line(name, 60)
    if entry["use_pickle"]:
        raise _Damaged(f"{shown} stored as a pickle, which is not opened")
    meta = entry["tensor_meta"]
    if meta["layout"] != _STRIDED or meta["dtype"] not in _DTYPES:
        raise _Damaged(f"{shown} of a layout or type that weights do not have")
    dtype = _DTYPES[meta["dtype"]]
    sizes, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
    offset = int(meta["storage_offset"]["as_int"])
    if len(sizes) != len(strides) or min([offset, *sizes, *strides]) < 0:
        raise _Damaged(f"{shown} with sizes and strides that no tensor has")
    if not math.prod(sizes):
        return torch.empty(sizes, dtype=dtype)
    raw = bytearray(members.read(folder + entry["path_name"]))
    n_held = len(raw) // dtype.itemsize
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    # The number of elements is checked too: strides of 0 would turn a few bytes into any size.
    if last >= n_held or math.prod(sizes) > n_held:
        raise _Damaged(f"{shown} reaching outside its {len(raw)} bytes")
    flat = torch.frombuffer(raw, dtype=dtype)
    return torch.as_strided(flat, sizes, strides, offset).clone(memory_format=torch.contiguous_format)
