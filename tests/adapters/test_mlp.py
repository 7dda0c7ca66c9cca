"""The `mlp` adapter: chains under any names, input shapes, and what it refuses."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from privaudit.adapters import build_target
from privaudit.adapters.interface import AdapterRefusal, InputOptions
from privaudit.adapters.mlp import MlpAdapter
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError
from privaudit.networks import ReluMlp


def checkpoint(tensors: dict[str, Tensor], kind: str = "torch-zip", **metadata: str) -> Checkpoint:
    return Checkpoint(path=Path("m"), tensors=tensors, sha256="", format=kind, metadata=metadata)


def mlp(widths: list[int], has_bias: list[bool], seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    pairs = zip(widths, widths[1:], has_bias, strict=False)
    layers = [nn.Linear(n_in, n_out, bias=bias) for n_in, n_out, bias in pairs]
    modules = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *modules[:-1])


def refusal(tensors: dict[str, Tensor], options: InputOptions | None = None, **metadata: str) -> str:
    with pytest.raises(AdapterRefusal) as caught:
        MlpAdapter().build(checkpoint(tensors, **metadata), options or InputOptions())
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAME = st.text("abcdefgh_.0123456789", min_size=1, max_size=8)


@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    has_bias=st.lists(st.booleans(), min_size=3, max_size=3),
    names=st.lists(NAME, min_size=3, max_size=3, unique=True),
    kind=st.sampled_from(["torch-zip", "safetensors"]),
)
@settings(max_examples=60, deadline=None)
def test_round_trip_under_random_names(widths: list[int], has_bias: list[bool], names: list[str], kind: str) -> None:
    sizes = [12, *widths]
    network = mlp(sizes, has_bias)
    linear = [module for module in network if isinstance(module, nn.Linear)]
    tensors = {}
    for index, (layer, name) in enumerate(zip(linear, names, strict=False)):
        stem = f"{index}_{name}" if kind == "safetensors" else name
        tensors[f"{stem}.weight"] = layer.weight.detach()
        if layer.bias is not None:
            tensors[f"{stem}.bias"] = layer.bias.detach()
    ordered = dict(sorted(tensors.items())) if kind == "safetensors" else tensors
    target = MlpAdapter().build(checkpoint(ordered, kind), InputOptions(input_shape=(3, 2, 2), activation="relu"))
    images = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(target.outputs(images), network(images).detach())
    assert target.n_outputs == sizes[-1] and target.input_shape == (3, 2, 2)
    assert [layer.has_bias for layer in target.layers] == [layer.bias is not None for layer in linear]


def test_target_is_float32_frozen_and_independent_of_the_file() -> None:
    weight = torch.ones(2, 4, dtype=torch.float16)
    target = MlpAdapter().build(checkpoint({"w": weight}, activation="relu"), InputOptions())
    assert isinstance(target.module, ReluMlp)
    assert not target.module.training
    parameters = list(target.module.parameters())
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in parameters)
    parameters[0].data.zero_()
    assert weight.min() == 1
    assert "weights stored as float16 are held as float32" in target.assumptions


def test_natural_order_in_files_that_sort_names() -> None:
    network = mlp([4, *[3] * 11], [False] * 11)
    weights = [module.weight.detach() for module in network if isinstance(module, nn.Linear)]
    tensors = dict(sorted({f"layers.{i}.weight": weight for i, weight in enumerate(weights)}.items()))
    assert list(tensors)[2] == "layers.10.weight"
    target = MlpAdapter().build(checkpoint(tensors, "safetensors"), InputOptions())
    assert [layer.name for layer in target.layers] == [f"layers.{i}" for i in range(11)]
    images = torch.randn(2, 1, 2, 2)
    torch.testing.assert_close(target.outputs(images), network(images).detach())


def test_order_from_shapes_where_names_do_not_tell() -> None:
    tensors = {"classifier.weight": torch.ones(2, 5), "hidden.weight": torch.ones(5, 4)}
    target = MlpAdapter().build(checkpoint(tensors, "safetensors"), InputOptions())
    assert [layer.name for layer in target.layers] == ["hidden", "classifier"]
    assert any("from their shapes alone" in text for text in target.assumptions)


def test_biases_under_foreign_names() -> None:
    first, second, out = torch.randn(5), torch.randn(5), torch.randn(2)
    weights = {"p0": torch.randn(5, 4), "p2": torch.randn(5, 5), "p4": torch.randn(2, 5)}
    tensors = {"p0": weights["p0"], "p1": first, "p2": weights["p2"], "p3": second, "p4": weights["p4"], "p5": out}
    layers = MlpAdapter().build(checkpoint(tensors), InputOptions()).module.layers
    assert isinstance(layers, nn.ModuleList)
    for layer, bias in zip(layers, (first, second, out), strict=True):
        assert torch.equal(layer.get_parameter("bias"), bias)
    only_last = MlpAdapter().build(checkpoint({**weights, "x": out}), InputOptions())
    assert [layer.has_bias for layer in only_last.layers] == [False, False, True]
    assert "cannot be told" in refusal({**weights, "x": first})


@pytest.mark.parametrize(("n_inputs", "shape"), [(784, (1, 28, 28)), (3072, (3, 32, 32)), (3, (3, 1, 1))])
def test_input_shape_is_guessed_and_said(n_inputs: int, shape: tuple[int, int, int]) -> None:
    target = MlpAdapter().build(checkpoint({"w": torch.ones(1, n_inputs)}), InputOptions())
    assert target.input_shape == shape
    assert any("input shape not stated" in text for text in target.assumptions)
    assert any("ReLU assumed" in text for text in target.assumptions)


@pytest.mark.parametrize("text", ["2,3,4", "2x3x4", "(2, 3, 4)", "[2,3,4]"])
def test_input_shape_from_metadata_under_options(text: str) -> None:
    tensors = {"w": torch.ones(1, 24)}
    given = checkpoint(tensors, input_shape=text, activation="ReLU")
    target = MlpAdapter().build(given, InputOptions())
    assert target.input_shape == (2, 3, 4) and target.assumptions == ()
    assert MlpAdapter().build(given, InputOptions(input_shape=(6, 2, 2))).input_shape == (6, 2, 2)


def test_refusals() -> None:
    weight = torch.ones(2, 4)
    assert "no square image" in refusal({"w": torch.ones(2, 5)})
    assert "1x3x3 has 9" in refusal({"w": weight}, InputOptions(input_shape=(1, 3, 3)))
    assert "'3,32'" in refusal({"w": weight}, input_shape="3,32")
    assert "'tanh'" in refusal({"w": weight}, activation="tanh")
    assert "'gelu'" in refusal({"w": weight}, InputOptions(activation="gelu"), activation="relu")
    assert "a gives 2, b takes 3" in refusal({"a": weight, "b": torch.ones(1, 3)})
    assert "no 2-D weight" in refusal({"b": torch.ones(3)})
    assert "c is 4-D" in refusal({"w": weight, "c": torch.ones(1, 1, 1, 1)})
    assert "not floating point" in refusal({"w": weight.to(torch.int8)})
    assert "norm.weight" in refusal({"w": weight, "norm.weight": torch.ones(2)})
    assert "w.bias has 3 entries" in refusal({"w.weight": weight, "w.bias": torch.ones(3)})
    assert "more than one order" in refusal({"m": torch.ones(1, 4), "a": torch.ones(4, 4), "z": torch.ones(4, 4)})
    keras = {"dense1": torch.ones(784, 50), "dense2": torch.ones(50, 10)}
    assert "transposed" in refusal(keras)


def test_named_adapter_gives_its_reason_as_one_error() -> None:
    with pytest.raises(AdapterError, match="no 2-D weight"):
        build_target(checkpoint({"b": torch.ones(3)}), "mlp", InputOptions())
