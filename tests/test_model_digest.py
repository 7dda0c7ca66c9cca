"""The digest of a model file without torch is the one that a scan states."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from privaudit.checkpoint import load_checkpoint
from privaudit.errors import CheckpointError
from privaudit.model_digest import model_digest


def test_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.arange(6.0).reshape(2, 3)}, path)
    digest = model_digest(path)
    assert (digest.sha256, digest.files, digest.is_link) == (load_checkpoint(path).sha256, (path,), False)
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    assert (model_digest(link).sha256, model_digest(link).is_link) == (digest.sha256, True)


def test_shards_in_the_order_of_the_index(tmp_path: Path) -> None:
    for i, name in enumerate(("b", "a")):
        save_file({name: torch.full((2, 2), float(i))}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"b": "b.safetensors", "a": "a.safetensors"}}))
    before = model_digest(index)
    assert before.sha256 == load_checkpoint(index).sha256
    assert [file.name for file in before.files] == [index.name, "b.safetensors", "a.safetensors"]
    save_file({"a": torch.full((2, 2), 7.0)}, tmp_path / "a.safetensors")
    assert model_digest(index).sha256 != before.sha256


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/a.safetensors", "a.bin"])
def test_a_shard_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="expected"):
        model_digest(index)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "loop", Path("/dev/null")):
        with pytest.raises(CheckpointError, match="expected"):
            model_digest(path)
