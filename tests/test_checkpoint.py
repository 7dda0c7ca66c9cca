"""Checkpoint loading: round trips in every format, and one test for each way a file can be bad."""

import collections
import hashlib
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from privaudit.checkpoint import load_checkpoint, unwrapped_names
from privaudit.checkpoint_pickle import pickle_imports
from privaudit.errors import CheckpointError, UnsafeCheckpointError

STATE = {"layers.0.weight": torch.arange(6.0).reshape(2, 3), "layers.0.bias": torch.ones(2)}


class Payload:
    """Leaves a file behind if anything ever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def refused(path: Path, *words: str, kind: type[CheckpointError] = CheckpointError) -> str:
    """The message of the refusal: exactly that exception, one line, naming each of `words`."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert type(caught.value) is kind, message
    assert "\n" not in message
    assert message.startswith("expected ") and "found" in message
    for word in words:
        assert word in message
    return message


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_safetensors_with_metadata_and_sha256(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(STATE, path, metadata={"activation": "relu"})
    checkpoint = load_checkpoint(path)
    assert same(checkpoint.tensors, STATE)
    assert checkpoint.format == "safetensors"
    assert checkpoint.metadata == {"activation": "relu"}
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions_are_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(2, 3, dtype=dtype)}, path)
    assert load_checkpoint(path).tensors["w"].dtype == dtype


def test_header_length_that_looks_like_a_pickle(tmp_path: Path) -> None:
    data = save({"w": torch.ones(1, 1)})
    n_header = int.from_bytes(data[:8], "little")
    padded = data[8 : 8 + n_header].rstrip() + b" " * 640
    path = tmp_path / "model.safetensors"
    path.write_bytes((640).to_bytes(8, "little") + padded[:640] + data[8 + n_header :])
    assert path.read_bytes().startswith(b"\x80\x02")
    assert list(load_checkpoint(path).tensors) == ["w"]


@pytest.mark.parametrize("nested", ["", "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_torch_files(tmp_path: Path, nested: str, is_zip: bool) -> None:
    path = tmp_path / "model.pt"
    contents = {nested: STATE, "epoch": 3, "lr": [0.1]} if nested else STATE
    torch.save(contents, path, _use_new_zipfile_serialization=is_zip)
    checkpoint = load_checkpoint(path)
    assert same(checkpoint.tensors, STATE)
    assert checkpoint.format == ("torch-zip" if is_zip else "torch-legacy")
    assert list(checkpoint.tensors) == list(STATE)


def test_parameters_and_ordered_dict(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(collections.OrderedDict(w=nn.Parameter(torch.ones(2, 2))), path)
    assert not load_checkpoint(path).tensors["w"].requires_grad


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module.module.", "_orig_mod.module.", "module._orig_mod."]
)
def test_prefixes_are_removed(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({prefix + name: tensor for name, tensor in STATE.items()}, path)
    assert same(load_checkpoint(path).tensors, STATE)


def test_a_module_of_that_name_among_others_keeps_it() -> None:
    names = ["module.weight", "head.weight"]
    assert list(unwrapped_names(names).values()) == names


def test_prefix_inside_a_name_and_averaged_models(tmp_path: Path) -> None:
    assert unwrapped_names(["body._orig_mod.0.weight"]) == {"body._orig_mod.0.weight": "body.0.weight"}
    path = tmp_path / "swa.pt"
    torch.save(torch.optim.swa_utils.AveragedModel(nn.Linear(2, 1)).state_dict(), path)
    assert set(load_checkpoint(path).tensors) == {"weight", "bias"}


def test_names_that_collide_without_prefix(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"_orig_mod.w": torch.ones(1), "w": torch.ones(1)}, path)
    refused(path, "_orig_mod.w", "both")


def sharded(folder: Path, weight_map: dict[str, str] | None = None) -> Path:
    save_file({"layers.0.weight": STATE["layers.0.weight"]}, folder / "a.safetensors", metadata={"format": "pt"})
    save_file({"layers.0.bias": STATE["layers.0.bias"]}, folder / "b.safetensors")
    index = folder / "model.safetensors.index.json"
    weight_map = weight_map or {"layers.0.weight": "a.safetensors", "layers.0.bias": "b.safetensors"}
    index.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": weight_map}))
    return index


def test_sharded(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    checkpoint = load_checkpoint(index)
    assert same(checkpoint.tensors, STATE)
    assert checkpoint.format == "safetensors-sharded"
    assert checkpoint.metadata == {"format": "pt", "total_size": "32"}
    files = [index, tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    assert checkpoint.sha256 == hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def test_sharded_traversal(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    save_file(STATE, tmp_path / "out.safetensors")
    (inner / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    for name in ("../out.safetensors", str(tmp_path / "out.safetensors"), "link.safetensors"):
        refused(sharded(inner, {"layers.0.weight": name}), "outside its directory")


def test_sharded_with_a_missing_shard_or_tensor(tmp_path: Path) -> None:
    refused(sharded(tmp_path, {"w": "c.safetensors"}), "c.safetensors", "no such file")
    refused(sharded(tmp_path, {"w": "a.safetensors"}), "found w missing")
    refused(sharded(tmp_path, {"w": "a.bin"}), "a.bin")


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"weight_map": {}}', '{"weight_map": 3}'])
def test_index_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    refused(path)


def test_missing_directory_and_empty(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file")
    refused(tmp_path, "directory")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    refused(tmp_path / "empty.safetensors", "empty file")


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "pipe")


@pytest.mark.parametrize("n_kept", [3, 8, 9, 40, -1, -20])
def test_truncated_safetensors(tmp_path: Path, n_kept: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(STATE)[:n_kept])
    refused(path)


def test_truncation_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(STATE)[:-4])
    refused(path, "truncated")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_text_under_another_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("configuration\nof a model\nand more\n")
    refused(path, "text beginning 'configuration")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    refused(path, "git lfs pull")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in ("model.safetensors", "model.pt", "m.index.json"):
            path = Path(folder) / name
            path.write_bytes(data)
            refused(path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_pickle_with_code_names_its_import_and_runs_nothing(tmp_path: Path, protocol: int, name: str) -> None:
    path, trap = tmp_path / name, tmp_path / "trap"
    path.write_bytes(pickle.dumps({"w": Payload(trap)}, protocol=protocol))
    refused(path, f"{os.mkdir.__module__}.mkdir", "nothing was run", kind=UnsafeCheckpointError)
    assert not trap.exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_torch_file_with_code(tmp_path: Path, is_zip: bool) -> None:
    path, trap = tmp_path / "model.pt", tmp_path / "trap"
    torch.save({"state_dict": STATE, "x": Payload(trap)}, path, _use_new_zipfile_serialization=is_zip)
    message = refused(path, f"{os.mkdir.__module__}.mkdir", "save_file", kind=UnsafeCheckpointError)
    assert "_rebuild_tensor" not in message
    assert not trap.exists()


def test_whole_module_is_refused_by_its_class(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    refused(path, "torch.nn.modules.linear.Linear", kind=UnsafeCheckpointError)


def test_imports_through_the_memo_and_copies() -> None:
    # STACK_GLOBAL whose strings come from the memo, and one that duplicates the top of the stack.
    memoised = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93."
    assert pickle_imports(io.BytesIO(memoised)) == ["posix.system"]
    assert pickle_imports(io.BytesIO(b"\x80\x04\x8c\x04evil2\x93."[:8] + b"2\x93.")) == ["evil.evil"]
    computed = b"\x80\x04\x8c\x05posix\x94]\x93."
    assert pickle_imports(io.BytesIO(computed)) == ["a computed name"]


def test_harmless_name_does_not_hide_behind_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x02ctorch\nload\n.")
    refused(path, "torch.load", kind=UnsafeCheckpointError)


def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"model/{name}", b"")
    refused(path, "TorchScript")


def test_other_zip_and_damaged_torch_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"")
    refused(path, "images.npy")
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "damaged")


@pytest.mark.parametrize(("contents", "word"), [([1, 2], "list"), ({"epoch": 3}, "int"), ({1: torch.ones(1)}, "1")])
def test_contents_that_are_no_tensors(tmp_path: Path, contents: object, word: str) -> None:
    path = tmp_path / "model.pt"
    torch.save(contents, path)
    refused(path, word)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"good": torch.ones(2), "layers.3.weight": torch.tensor([1.0, value], dtype=dtype)}, path)
    refused(path, "layers.3.weight", "1 of 2")


def test_no_tensors_and_sparse_ones(tmp_path: Path) -> None:
    save_file({}, tmp_path / "none.safetensors")
    refused(tmp_path / "none.safetensors", "no tensors")
    torch.save({}, tmp_path / "none.pt")
    refused(tmp_path / "none.pt", "no tensors")
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "sparse.pt")
    refused(tmp_path / "sparse.pt", "w sparse")


def test_names_with_line_breaks_stay_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a\nb": torch.tensor([float("nan")])}, path)
    assert re.search("a b", refused(path))
