"""The sha256 of a checkpoint as a scan states it, in chunks and without torch.

In: a path. Out: a `ModelDigest`. Must not know tensors; `privaudit.checkpoint.Checkpoint.sha256` is the same number.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from privaudit.checkpoint_index import read_index, shard_path_of
from privaudit.errors import CheckpointError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelDigest:
    """What was hashed.

    Attributes:
        sha256: hexadecimal; of a sharded checkpoint over the index and its shards in the order it first names them.
        files: the regular files that were read, symbolic links followed.
        is_link: whether the path named is a symbolic link, or passes through one.
    """

    sha256: str
    files: tuple[Path, ...]
    is_link: bool


def model_digest(path: Path) -> ModelDigest:
    """Hash a checkpoint.

    Raises:
        CheckpointError: missing, no regular file, not readable, or an index whose shards cannot be read.
    """
    real = _regular(path)
    digest = hashlib.sha256()
    files = [real]
    if path.name.endswith(".index.json"):
        index = _read(real, path)
        digest.update(index)
        weight_map, _ = read_index(index, path)
        for name in dict.fromkeys(weight_map.values()):
            files.append(_regular(shard_path_of(path, name)))
            _update(digest, files[-1])
    else:
        _update(digest, real)
    return ModelDigest(digest.hexdigest(), tuple(files), real != path.absolute())


def _regular(path: Path) -> Path:
    """The file itself, links followed."""
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise CheckpointError(f"expected the model at {path}, found no such file; check the path") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"expected the model at {path}, found: {_reason(error)}; check the path") from None
    if not real.is_file():
        raise CheckpointError(f"expected a regular file at {path}, found a directory or device; name the model's file")
    return real


def _read(real: Path, named: Path) -> bytes:
    try:
        return real.read_bytes()
    except OSError as error:
        raise CheckpointError(f"expected a readable model at {named}, found: {_reason(error)}; check it") from None


def _update(digest: "hashlib._Hash", path: Path) -> None:
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise CheckpointError(f"expected a readable model at {path}, found: {_reason(error)}; check it") from None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
