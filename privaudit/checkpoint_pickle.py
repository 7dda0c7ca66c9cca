"""Torch files: tensors out of a pickle, whose imports are read first without running it. Knows no architectures.

Two guards in a row: a file that imports anything beyond `_HARMLESS` is refused unopened, and what remains is read by
`torch.load(weights_only=True)`.
"""

import io
import pickletools
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from privaudit.errors import CheckpointError, UnsafeCheckpointError
from privaudit.text import listed, one_line

ZIP_MAGIC = b"PK\x03\x04"
_NESTED = ("state_dict", "model_state_dict", "model")
# A legacy torch file begins with five pickles: magic number, protocol, system, contents, storage keys (torch.save).
_N_LEGACY_PICKLES = 5
_REMEDY = "save the weights alone: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
# What torch.save writes for tensors and containers of them; a subset of what torch's weights-only unpickler allows.
_HARMLESS = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",
        "collections.defaultdict",
        "builtins.set",
        "__builtin__.set",
        "builtins.bytearray",
        "__builtin__.bytearray",
        "_codecs.encode",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
    }
)
_MARK = object()


def read_torch(data: bytes, path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors in the order of the state dict, and the format: `torch-zip` or `torch-legacy`.

    Raises:
        UnsafeCheckpointError: unpickling would import more than tensors need; the message lists what.
        CheckpointError: damaged, a TorchScript archive, or contents that are not tensors.
    """
    is_zip = data.startswith(ZIP_MAGIC)
    try:
        imports = _zip_imports(data, path) if is_zip else _legacy_imports(data)
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise _damaged(path, error) from None
    refused = dict.fromkeys(name for name in imports if not _is_harmless(name))
    if refused:
        raise UnsafeCheckpointError(
            f"expected tensors only in {path}, found a pickle that imports {listed(refused)} (nothing was run); "
            + _REMEDY
        )
    if not is_zip and tarfile.is_tarfile(io.BytesIO(data)):
        # torch before 2.6 runs code from this format in spite of weights_only (CVE-2025-32434).
        raise CheckpointError(f"expected a torch file at {path}, found a tar archive; {_REMEDY}")
    try:
        contents = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(path, error) from None
    return _state_dict(contents, path), "torch-zip" if is_zip else "torch-legacy"


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"expected safetensors or a torch file at {path}, found it damaged or another format: {one_line(error, 99)}; "
        "copy it again or save it as safetensors"
    )


def _is_harmless(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module != "torch":
        return name in _HARMLESS
    is_dtype = isinstance(vars(torch).get(attribute), torch.dtype)
    return name in _HARMLESS or is_dtype or (attribute.endswith("Storage") and attribute.isidentifier())


def _zip_imports(data: bytes, path: Path) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise CheckpointError(
                f"expected tensors in {path}, found a TorchScript archive (a program); save the state dict instead"
            )
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(
                f"expected a torch file at {path}, found a zip with {len(pickles)} data.pkl ({listed(names, 3)}); "
                "name the file that torch.save or save_file wrote"
            )
        return pickle_imports(io.BytesIO(archive.read(pickles[0])))


def _legacy_imports(data: bytes) -> list[str]:
    stream = io.BytesIO(data)
    imports = pickle_imports(stream)
    for _ in range(_N_LEGACY_PICKLES - 1):
        try:
            imports += pickle_imports(stream)
        except ValueError:
            # A plain pickle ends after the first; torch.load says what is wrong with it.
            break
    return imports


def has_imports(data: bytes) -> bool:
    """Whether the bytes are a whole pickle that imports something; the oldest protocols have no magic number."""
    try:
        return bool(pickle_imports(io.BytesIO(data)))
    except ValueError:
        return False


def pickle_imports(stream: IO[bytes]) -> list[str]:
    """What one pickle would import, as `module.name`, read with `pickletools` and never run.

    Follows the stack and the memo, since the newer protocols take the names from there.

    Raises:
        ValueError: no pickle, or a truncated one.
    """
    imports: list[str] = []
    stack: list[object] = []
    memo: dict[int, object] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            imports.append(str(argument).replace(" ", ".", 1))
        elif opcode.name == "STACK_GLOBAL":
            names = stack[-2:]
            is_known = len(names) == 2 and all(isinstance(name, str) for name in names)
            imports.append(f"{names[0]}.{names[1]}" if is_known else "a computed name")
        elif opcode.name in ("EXT1", "EXT2", "EXT4"):
            imports.append("a copyreg extension")
        _apply(opcode, argument, stack, memo)
    return imports


def _apply(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[object], memo: dict[int, object]) -> None:
    """The opcode's effect on the stack; every value but a string is a placeholder."""
    top = stack[-1] if stack else None
    if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[int(argument)] = top
    elif opcode.name == "MEMOIZE":
        memo[len(memo)] = top
    elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo.get(int(argument)))
    elif opcode.name == "DUP":
        stack.append(top)
    else:
        _pop(opcode, stack)
        value = argument if isinstance(argument, str) and opcode.name not in ("GLOBAL", "INST", "PERSID") else None
        stack.extend(_MARK if kind is pickletools.markobject else value for kind in opcode.stack_after)


def _pop(opcode: pickletools.OpcodeInfo, stack: list[object]) -> None:
    n_popped = len(opcode.stack_before)
    if pickletools.markobject in opcode.stack_before:
        n_popped = opcode.stack_before.index(pickletools.markobject)
        while stack and stack.pop() is not _MARK:
            pass
    del stack[max(len(stack) - n_popped, 0) :]


def _state_dict(contents: object, path: Path) -> dict[str, Tensor]:
    for _ in _NESTED:
        nested = [contents[key] for key in _NESTED if key in contents] if isinstance(contents, Mapping) else []
        inner = next((value for value in nested if isinstance(value, Mapping)), None)
        if inner is None:
            break
        contents = inner
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"expected a state dict in {path}, found a {type(contents).__name__}; {_REMEDY}")
    for key, value in contents.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"expected tensors under names in {path}, found {one_line(repr(key), 60)} to be a "
                f"{type(value).__name__}; put the state dict at the top or under {', '.join(_NESTED)}"
            )
    return {str(name): tensor.detach() for name, tensor in contents.items()}
