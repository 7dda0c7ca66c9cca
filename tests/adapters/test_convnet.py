"""The `convnet` adapter: geometry stated, inferred, contradictory and ambiguous."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from privaudit.adapters.convnet import ConvNetAdapter
from privaudit.adapters.interface import AdapterRefusal, AttackTarget, InputOptions
from privaudit.checkpoint import Checkpoint
from privaudit.config import ScanSettings
from privaudit.errors import AdapterError
from privaudit.loading import load
from privaudit.progress import SilentListener


def checkpoint(tensors: dict[str, Tensor], **metadata: str) -> Checkpoint:
    return Checkpoint(path=Path("m"), tensors=tensors, sha256="", format="torch-zip", metadata=metadata)


def network(kernels: list[int], side: int, *, padding: int | str = 0, pool: int = 1, stride: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    n_channels = 3
    for index, kernel in enumerate(kernels):
        modules += [
            nn.Conv2d(n_channels, 4 + index, kernel, stride=stride, padding=padding, bias=index == 0),
            nn.ReLU(),
        ]
        modules += [nn.MaxPool2d(pool)] if pool > 1 else []
        n_channels = 4 + index
    modules.append(nn.Flatten())
    n_inputs = nn.Sequential(*modules)(torch.zeros(1, 3, side, side)).shape[1]
    return nn.Sequential(*modules, nn.Linear(n_inputs, 6), nn.ReLU(), nn.Linear(6, 2, bias=False)).eval()


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}


def build(module: nn.Module, side: int | None, **metadata: str) -> AttackTarget:
    shape = (3, side, side) if side else None
    return ConvNetAdapter().build(checkpoint(tensors(module), **metadata), InputOptions(input_shape=shape))


def refusal(state: dict[str, Tensor], side: int | None = None, **metadata: str) -> str:
    with pytest.raises(AdapterRefusal) as caught:
        shape = (3, side, side) if side else None
        ConvNetAdapter().build(checkpoint(state, **metadata), InputOptions(input_shape=shape))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(
    kernels=st.lists(st.sampled_from([3, 5]), min_size=1, max_size=2),
    padding=st.sampled_from([0, "same"]),
    pool=st.sampled_from([1, 2]),
)
@settings(max_examples=25, deadline=None)
def test_geometry_is_inferred(kernels: list[int], padding: int | str, pool: int) -> None:
    module = network(kernels, 18, padding=padding, pool=pool)
    target = build(module, 18)
    images = torch.randn(3, 3, 18, 18)
    torch.testing.assert_close(target.outputs(images), module(images).detach())
    assert [layer.kind for layer in target.layers] == ["conv"] * len(kernels) + ["linear", "linear"]
    assert any("stride, padding, pool not stated" in text for text in target.assumptions)
    assert target.n_outputs == 2


def test_stride_and_the_rest_from_metadata() -> None:
    module = network([3, 3], 16, stride=2, padding=1)
    target = build(module, 16, stride="2", padding="1,1", pool="none", activation="relu")
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(target.outputs(images), module(images).detach())
    assert target.assumptions == ()


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("2", nn.MaxPool2d(2)), ("max3", nn.MaxPool2d(3)), ("maxpool 2x2", nn.MaxPool2d(2)),
        ("avg", nn.AvgPool2d(2)), ("average-pool3", nn.AvgPool2d(3)), ("None", nn.Identity()),
    ],
)  # fmt: skip
def test_pools_by_name(text: str, layer: nn.Module) -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
    head = nn.Sequential(first, nn.ReLU(), layer, second, nn.ReLU(), nn.Flatten())
    n_inputs = head(torch.zeros(1, 3, 12, 12)).shape[1]
    module = nn.Sequential(*head, nn.Linear(n_inputs, 2)).eval()
    target = build(module, 12, padding="1", stride="1", pool=f"{text},none")
    images = torch.randn(3, 3, 12, 12)
    torch.testing.assert_close(target.outputs(images), module(images).detach())


def test_padding_decides_where_the_input_shape_is_open() -> None:
    module = network([3], 8, padding="same")
    assert "more than one reading" in refusal(tensors(module))
    target = build(module, None, padding="same", pool="none")
    assert target.input_shape == (3, 8, 8)
    assert any("input shape not stated" in text for text in target.assumptions)


def test_equal_geometries_are_no_ambiguity() -> None:
    module = network([1], 6)
    assert build(module, 6).input_shape == (3, 6, 6)


def test_refusals() -> None:
    state = tensors(network([3], 8))
    assert "takes 144 inputs" in refusal(state, 9) and "give 196" in refusal(state, 9)
    assert "'median2'" in refusal(state, 8, pool="median2")
    assert "'max2x3'" in refusal(state, 8, pool="max2x3")
    assert "'two'" in refusal(state, 8, stride="two")
    assert "2 values for 1 convolutions" in refusal(state, 8, stride="1,1")
    assert "odd kernels" in refusal(tensors(network([4], 8)), 8, padding="same")
    assert "'swish'" in refusal(state, 8, activation="swish")
    assert "no 4-D" in refusal({"w": torch.ones(2, 3)})
    assert "no 2-D" in refusal({"w": torch.ones(2, 3, 3, 3)})
    assert "takes 3 channels" in refusal(state, None, input_shape="1,8,8")
    assert "lacks part of its tensors" in refusal({**state, "bn.running_mean": torch.ones(4)}, 8)


def test_options_speak_before_metadata(tmp_path: Path) -> None:
    """Whole way: settings of a scan to the network that is built."""
    module = network([3, 3], 16, stride=2, padding=1)
    save_file(tensors(module), tmp_path / "m.safetensors", {"stride": "1", "pool": "none", "input_shape": "3,16,16"})
    with pytest.raises(AdapterError, match="takes 80 inputs"):
        load(ScanSettings(model=tmp_path / "m.safetensors"), SilentListener())
    told = ScanSettings(model=tmp_path / "m.safetensors", stride="2", padding="1")
    target = load(told, SilentListener()).target
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(target.outputs(images), module(images).detach())
    assert target.assumptions == ("activation not stated: ReLU assumed between layers, none after the last",)
