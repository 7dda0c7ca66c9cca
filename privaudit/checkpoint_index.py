"""The index of a sharded checkpoint: which file holds which tensor. Knows no tensors; runs without torch."""

import json
from pathlib import Path

from privaudit.errors import CheckpointError
from privaudit.text import one_line


def read_index(data: bytes, path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Tensor name to shard, and the index's own strings.

    Raises:
        CheckpointError: no JSON with a `weight_map`.
    """
    try:
        index = json.loads(data)
        weight_map = {str(name): str(file) for name, file in index["weight_map"].items()}
        metadata = {str(key): str(value) for key, value in (index.get("metadata") or {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(
            f"expected a safetensors index in {path}, found no JSON with a weight_map; name the index a save wrote"
        ) from None
    return weight_map, metadata


def shard_path_of(index_path: Path, name: str) -> Path:
    """The shard, which must be a plain file inside the directory of the index, symbolic links followed.

    Raises:
        CheckpointError: it lies elsewhere or is no safetensors.
    """
    folder = index_path.parent.resolve()
    try:
        shard = (folder / name).resolve()
        is_inside = shard.is_relative_to(folder) and not Path(name).is_absolute() and ".." not in Path(name).parts
    except (OSError, ValueError, RuntimeError):
        is_inside = False
    if not is_inside:
        raise CheckpointError(
            f"expected shards beside {index_path}, found {one_line(name)!r} pointing outside its directory; "
            "copy the shard into it and name it plainly"
        )
    if not name.endswith(".safetensors"):
        raise CheckpointError(
            f"expected safetensors shards in {index_path}, found {one_line(name)!r}; save it as safetensors"
        )
    return shard
