"""Adapters of installed packages."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from privaudit.adapters import build_target, plugins
from privaudit.adapters.interface import AbstractAdapter, AdapterRefusal, AttackTarget, InputOptions
from privaudit.adapters.mlp import MlpAdapter
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError


class Doubling(AbstractAdapter):
    """Takes tensors named `half` only and delegates the rest."""

    name = "doubling"

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        if "half" not in checkpoint.tensors:
            raise AdapterRefusal("there is no half")
        tensors = {"0.weight": 2 * checkpoint.tensors["half"][0]}
        return MlpAdapter().build(Checkpoint(checkpoint.path, tensors, "", "torch-zip", {}), options)


class Wrong(Doubling):
    """Returns something else."""

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        return "target"  # type: ignore[return-value]


HALF = Checkpoint(Path("m"), {"half": torch.ones(1, 2, 4)}, "", "torch-zip", {"input_shape": "1,2,2"})


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("doubling", f"{__name__}:Doubling", plugins.GROUP),
        EntryPoint("wrong", f"{__name__}:Wrong", plugins.GROUP),
        EntryPoint("missing", "no_such_module_anywhere:Adapter", plugins.GROUP),
        EntryPoint("mlp", f"{__name__}:Wrong", plugins.GROUP),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries if group == plugins.GROUP else [])


@pytest.mark.parametrize("name", ["doubling", "auto"])
def test_a_plugin_is_found(name: str) -> None:
    target = build_target(HALF, name, InputOptions((1, 2, 2)))
    torch.testing.assert_close(target.outputs(torch.ones(1, 1, 2, 2)), torch.full((1, 2), 8.0))


def test_a_built_in_adapter_cannot_be_replaced() -> None:
    tensors = {"0.weight": torch.ones(2, 4)}
    checkpoint = Checkpoint(Path("m"), tensors, "", "torch-zip", {"input_shape": "1,2,2"})
    assert build_target(checkpoint, "mlp", InputOptions()).adapter == "mlp"


def test_broken_plugins_are_reasons() -> None:
    with pytest.raises(AdapterError, match="gave a str, no AttackTarget"):
        build_target(HALF, "wrong", InputOptions((1, 2, 2)))
    with pytest.raises(AdapterError, match=r"missing: the plug-in .* failed with ModuleNotFoundError"):
        build_target(Checkpoint(Path("m"), {"x": torch.ones(1, 1, 1)}, "", "torch-zip", {}), "auto", InputOptions())
