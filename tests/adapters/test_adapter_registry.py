"""The contract that every registered adapter keeps, and the choice among them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from privaudit.adapters import ADAPTERS, build_target, resolve_input_options
from privaudit.adapters.interface import AbstractAdapter, InputOptions
from privaudit.checkpoint import Checkpoint, load_checkpoint
from privaudit.errors import AdapterError

FITTING = {
    "mlp": {"0.weight": torch.randn(5, 12), "0.bias": torch.randn(5), "1.weight": torch.randn(3, 5)},
    "convnet": {"0.weight": torch.randn(2, 3, 1, 1), "1.weight": torch.randn(3, 8)},
}


def checkpoint(tensors: dict[str, torch.Tensor], **metadata: str) -> Checkpoint:
    return Checkpoint(Path("model.pt"), tensors, "", "torch-zip", metadata)


@pytest.fixture
def fitting(adapter: AbstractAdapter, dtype: torch.dtype, tmp_path: Path) -> Checkpoint:
    if adapter.name == "exported":
        module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)).eval().to(dtype)
        batch = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(module, (torch.rand(2, 3, 2, 2, dtype=dtype),), dynamic_shapes=batch)
        torch.export.save(program, tmp_path / "model.pt2")
        return load_checkpoint(tmp_path / "model.pt2")
    return checkpoint({name: tensor.to(dtype) for name, tensor in FITTING[adapter.name].items()}, input_shape="3,2,2")


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_contract(adapter: AbstractAdapter, fitting: Checkpoint) -> None:
    target = build_target(fitting, "auto", InputOptions())
    assert target.adapter == adapter.name
    outputs = target.outputs(torch.rand(4, *target.input_shape))
    assert outputs.shape == (4, target.n_outputs) and outputs.dtype == torch.float32
    assert not target.module.training
    assert not any(p.requires_grad for p in target.module.parameters())
    assert target.n_parameters == sum(tensor.numel() for tensor in fitting.tensors.values())
    assert len(target.layers) == sum(tensor.ndim > 1 for tensor in fitting.tensors.values())


def test_names_are_unique() -> None:
    assert len({adapter.name for adapter in ADAPTERS}) == len(ADAPTERS)


def test_every_reason_in_one_line() -> None:
    with pytest.raises(AdapterError) as caught:
        build_target(checkpoint({"lstm.weight\n": torch.ones(2, 3, 4)}), "auto", InputOptions())
    message = str(caught.value)
    assert "\n" not in message and "file.py:factory" in message
    for adapter in ADAPTERS:
        assert f"{adapter.name}: " in message


def test_unknown_adapter() -> None:
    with pytest.raises(
        AdapterError, match=r"auto, mlp, convnet, exported, .*timm:NAME or file\.py:factory, found 'resnet'"
    ):
        build_target(checkpoint(FITTING["mlp"]), "resnet", InputOptions())


def test_input_options_by_precedence() -> None:
    stated = checkpoint({}, input_shape="3,2,2", activation="relu")
    assert resolve_input_options(stated, (1, 1, 1), (2, 2, 2)) == InputOptions((1, 1, 1), "relu")
    assert resolve_input_options(stated, None, (2, 2, 2)).input_shape == (3, 2, 2)
    assert resolve_input_options(checkpoint({}), None, (2, 2, 2)).input_shape == (2, 2, 2)
    assert resolve_input_options(checkpoint({})) == InputOptions()
    with pytest.raises(AdapterError, match="'big'"):
        resolve_input_options(checkpoint({}, input_shape="big"))
