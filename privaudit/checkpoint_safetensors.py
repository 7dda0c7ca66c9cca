"""Safetensors, one file or sharded: bytes to tensors and header strings. Knows neither pickles nor architectures."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from privaudit.checkpoint_index import read_index, shard_path_of
from privaudit.errors import CheckpointError
from privaudit.text import listed, one_line

# Little-endian length of the JSON header: https://github.com/huggingface/safetensors#format
_LENGTH_BYTES = 8
_LFS_POINTER = b"version https://git-lfs"


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        CheckpointError: missing, a directory, not readable or empty.
    """
    if path.is_dir():
        raise CheckpointError(f"expected a checkpoint file, found the directory {path}; name the file in it")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"expected a checkpoint file, found a device or pipe at {path}; name a regular file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"expected a checkpoint at {path}, found no such file; check the path") from None
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise CheckpointError(f"expected a readable checkpoint at {path}, found: {reason}; check the file") from None
    if not data:
        raise CheckpointError(f"expected a checkpoint at {path}, found an empty file; save or copy it again")
    return data


def refuse_text(data: bytes, path: Path) -> None:
    """Say so where a file is text.

    Raises:
        CheckpointError: the file begins as text does, or is a Git LFS pointer.
    """
    if data.startswith(_LFS_POINTER):
        raise CheckpointError(f"expected weights in {path}, found a Git LFS pointer; run `git lfs pull`")
    beginning = data[:16].decode("ascii", errors="replace")
    if all(
        c.isprintable() and c != "\ufffd" for c in beginning.replace("\n", " ").replace("\t", " ").replace("\r", " ")
    ):
        raise CheckpointError(
            f"expected safetensors or a torch file at {path}, found text beginning {one_line(beginning)!r}; "
            "name the file with the weights"
        )


def read_safetensors(data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors in file order, and the header's strings.

    Raises:
        CheckpointError: truncated, damaged or not safetensors.
    """
    header = _header(data, path)
    metadata = header.pop("__metadata__", None) or {}
    try:
        tensors = parse_safetensors(data)
        order = sorted(tensors, key=lambda name: int(header[name]["data_offsets"][0]))
        strings = {str(key): str(value) for key, value in metadata.items()}
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"expected safetensors in {path}, found it damaged: {one_line(error)}; save or copy it again"
        ) from None
    return {name: tensors[name] for name in order}, strings


def _header(data: bytes, path: Path) -> dict[str, Any]:
    n_header = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if len(data) < _LENGTH_BYTES + n_header:
        refuse_text(data, path)
        raise CheckpointError(
            f"expected safetensors in {path}, found it truncated or in another format: its header would take "
            f"{n_header} bytes and the file has {len(data)}; save or copy it again"
        )
    try:
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + n_header])
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise CheckpointError(
            f"expected a safetensors header in {path}, found no valid JSON there; save or copy it again"
        ) from None
    n_expected = _LENGTH_BYTES + n_header + max(ends, default=0)
    if len(data) < n_expected:
        raise CheckpointError(
            f"expected {n_expected} bytes of safetensors in {path}, found it truncated to {len(data)}; copy it again"
        )
    return dict(header)


def read_sharded(index_data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Tensors in the order of the index, strings of the index and the shards, and the sha256 over all of it.

    Raises:
        CheckpointError: the index is no index, or a shard is missing, damaged, outside the directory or lacks a tensor.
    """
    weight_map, metadata = read_index(index_data, path)
    digest = hashlib.sha256(index_data)
    tensors: dict[str, Tensor] = {}
    strings: dict[str, str] = {}
    for shard_name in dict.fromkeys(weight_map.values()):
        shard_path = shard_path_of(path, shard_name)
        data = read_bytes(shard_path)
        digest.update(data)
        shard, shard_strings = read_safetensors(data, shard_path)
        strings |= shard_strings
        listed_here = [name for name, file in weight_map.items() if file == shard_name]
        missing = [name for name in listed_here if name not in shard]
        if missing:
            raise CheckpointError(
                f"expected the tensors that {path} lists in {shard_path.name}, found {listed(missing)} missing; "
                "save the checkpoint again"
            )
        tensors |= {name: shard[name] for name in listed_here}
    return {name: tensors[name] for name in weight_map}, strings | metadata, digest.hexdigest()
