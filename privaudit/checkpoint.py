"""Bytes to tensors, without executing code.

In: a path. Out: a `Checkpoint`. Must not know architectures; the formats themselves are in `checkpoint_safetensors` and
`checkpoint_pickle`.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from privaudit.checkpoint_exported import is_exported, read_exported
from privaudit.checkpoint_pickle import ZIP_MAGIC, has_imports, read_torch
from privaudit.checkpoint_safetensors import read_bytes, read_safetensors, read_sharded, refuse_text
from privaudit.errors import CheckpointError
from privaudit.text import listed, one_line

# What torch.compile puts before a module's names, at any depth; nobody's own name.
_COMPILED = re.compile(r"(^|\.)(?:_orig_mod\.)+")
# What DataParallel, DistributedDataParallel and AveragedModel put before all names.
_WRAPPED = "module."
# The counter that torch.optim.swa_utils.AveragedModel keeps beside the wrapped module; no parameter of the network.
_AVERAGED_COUNTER = "n_averaged"


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a file.

    Attributes:
        path: the file (or the index of a sharded checkpoint).
        tensors: parameter name to tensor, prefixes such as `module.` removed, in the file's own dtype and order.
        sha256: of the bytes that were read, hexadecimal; sharded: of the index followed by the shards in the order in
            which the index first names them.
        format: `safetensors`, `safetensors-sharded`, `torch-export`, `torch-zip` or `torch-legacy`.
        metadata: the safetensors header's strings (sharded: the index's over the shards'); empty for other formats.
        program: of a `torch.export` archive, its parsed JSON; None for other formats.
    """

    path: Path
    tensors: dict[str, Tensor]
    sha256: str
    format: str
    metadata: dict[str, str]
    program: dict[str, Any] | None = None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: safetensors, also sharded through `*.index.json`, a `torch.export` archive, or a torch file.

    Torch files hold plain tensors.

    The format is told by the contents, not by the suffix.

    Raises:
        UnsafeCheckpointError: a pickle that would have to run code.
        CheckpointError: missing, damaged, in another format, without tensors, or with weights that are not finite.
    """
    data = read_bytes(path)
    metadata: dict[str, str] = {}
    program: dict[str, Any] | None = None
    sha256 = hashlib.sha256(data).hexdigest()
    if path.name.endswith(".index.json"):
        tensors, metadata, sha256 = read_sharded(data, path)
        kind = "safetensors-sharded"
    elif data.startswith(ZIP_MAGIC) and is_exported(data):
        tensors, program = read_exported(data, path)
        kind = "torch-export"
    elif _is_torch(data, path):
        tensors, kind = read_torch(data, path)
    else:
        tensors, metadata = read_safetensors(data, path)
        kind = "safetensors"
    if program is None:  # a program names its tensors itself
        tensors = _without_prefixes(tensors, path)
    _require_weights(tensors, path)
    return Checkpoint(path=path, tensors=tensors, sha256=sha256, format=kind, metadata=metadata, program=program)


def _is_torch(data: bytes, path: Path) -> bool:
    if data.startswith(ZIP_MAGIC):
        return True
    # A header of 640 bytes begins with the bytes of a pickle too, so safetensors is ruled out first.
    if data[8:9] == b"{":
        return False
    if data.startswith(b"\x80") or has_imports(data):
        return True
    refuse_text(data, path)
    return path.suffix != ".safetensors"


def unwrapped_names(names: Iterable[str]) -> dict[str, str]:
    """Each name and what remains of it without the prefixes that torch.compile and parallel wrappers add."""
    unwrapped = {name: _COMPILED.sub(r"\1", name) for name in names}
    while _is_wrapped(unwrapped.values()):
        unwrapped = {name: short.removeprefix(_WRAPPED) for name, short in unwrapped.items()}
        unwrapped = {name: _COMPILED.sub(r"\1", short) for name, short in unwrapped.items()}
    return unwrapped


def _is_wrapped(names: Iterable[str]) -> bool:
    own = [name for name in names if name != _AVERAGED_COUNTER]
    return bool(own) and all(name.startswith(_WRAPPED) and name != _WRAPPED for name in own)


def _without_prefixes(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    names = unwrapped_names(tensors)
    if _is_wrapped(_COMPILED.sub(r"\1", name) for name in tensors):
        names.pop(_AVERAGED_COUNTER, None)
    if len(set(names.values())) < len(names):
        shown = listed(name for name, short in names.items() if name != short and short in tensors)
        raise CheckpointError(
            f"expected one tensor a name in {path}, found {shown} both with and without a wrapper's prefix; "
            "save the state dict of the inner module"
        )
    return {short: tensors[name] for name, short in names.items()}


def _require_weights(tensors: dict[str, Tensor], path: Path) -> None:
    if not tensors:
        raise CheckpointError(f"expected weights in {path}, found no tensors; save the model's state dict")
    for name, tensor in tensors.items():
        shown = one_line(name, 80)
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(
                f"expected dense tensors in {path}, found {shown} sparse or quantised; save the plain float weights"
            )
        n_bad = _n_not_finite(tensor)
        if n_bad:
            raise CheckpointError(
                f"expected finite weights in {path}, found {n_bad} of {tensor.numel()} NaN or infinite in {shown}; "
                "choose a checkpoint from before the training diverged"
            )


def _n_not_finite(tensor: Tensor) -> int:
    if not tensor.is_floating_point() and not tensor.is_complex():
        return 0
    # The 8-bit formats have no isfinite of their own.
    values = tensor.float() if tensor.is_floating_point() and tensor.element_size() < 2 else tensor
    return int((~torch.isfinite(values)).sum())
