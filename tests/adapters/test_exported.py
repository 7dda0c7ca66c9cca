"""`.pt2` programs: rebuilt without unpickling, equal to the module that was exported, and refused where in doubt."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from privaudit.adapters import build_target
from privaudit.adapters.interface import AttackTarget, InputOptions
from privaudit.checkpoint import load_checkpoint
from privaudit.errors import AdapterError, CheckpointError
from privaudit.networks import ReluMlp
from tests.adapters.test_simplify import trained


class Mixed(nn.Module):
    """Functional calls, a view by the batch, dropout, BatchNorm and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(64, 5)
        self.scale, self.drop = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0])), nn.Dropout()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.bn(self.conv(inputs))) * self.scale[:, None, None]
        hidden = nn.functional.max_pool2d(hidden, 2)
        return self.out(self.drop(hidden.view(hidden.size(0), -1)))


def export(module: nn.Module, path: Path, side: int, batch: int | None = None) -> Path:
    example = torch.randn(batch or 2, 3, side, side)
    dynamic = ({0: torch.export.Dim.DYNAMIC},) if batch is None else None
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=dynamic), path)
    return path


def built(path: Path) -> AttackTarget:
    return build_target(load_checkpoint(path), "auto", InputOptions())


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_equal_to_what_was_exported(tmp_path: Path, batch: int | None) -> None:
    module = trained(Mixed())
    target = built(export(module, tmp_path / "m.pt2", 8, batch))
    images = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(target.outputs(images), module(images).detach(), rtol=1e-4, atol=1e-5)
    assert target.adapter == "exported" and target.input_shape == (3, 8, 8)
    assert target.n_parameters == sum(p.numel() for p in module.parameters())
    assert {"conv", "linear"} <= {layer.kind for layer in target.layers}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_32", "convnext_tiny"])
def test_networks_of_torchvision(tmp_path: Path, name: str) -> None:
    side = 64
    extra = {"image_size": side} if name.startswith("vit") else {}
    module = models.get_model(name, weights=None, num_classes=5, **extra).eval()
    target = built(export(module, tmp_path / "m.pt2", side))
    images = torch.randn(3, 3, side, side)
    expected = module(images).detach()
    torch.testing.assert_close(target.outputs(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_chain_is_attacked_as_one(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    assert isinstance(built(export(module, tmp_path / "m.pt2", 4)).module, ReluMlp)
    other = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 2)).eval()
    assert not isinstance(built(export(other, tmp_path / "t.pt2", 4)).module, ReluMlp)


class Tied(nn.Module):
    """One layer applied twice, and one convolution with two paddings."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.out = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(48, 48), nn.Linear(48, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        shrunk = nn.functional.conv2d(inputs, self.conv.weight, self.conv.bias, padding=0).mean((1, 2, 3))[:, None]
        hidden = self.conv(inputs).flatten(1)
        return self.out(self.hidden(self.hidden(hidden).relu()).relu()) + shrunk


def test_a_layer_applied_twice_is_one_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Tied().eval()
    target = built(export(module, tmp_path / "m.pt2", 4))
    images = torch.randn(3, 3, 4, 4)
    torch.testing.assert_close(target.outputs(images), module(images).detach(), rtol=1e-4, atol=1e-5)
    assert [layer.name for layer in target.layers].count("hidden") == 1
    n_conv = sum(p.numel() for p in module.conv.parameters())  # applied in two ways, so there are two of it
    assert target.n_parameters == sum(p.numel() for p in module.parameters()) + n_conv


def test_training_mode_and_unlisted_operations(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="training mode"):
        built(export(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(48, 2)).train(), tmp_path / "m.pt2", 4))

    class Sorting(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.flatten(1).sort(1)[0]

    with pytest.raises(AdapterError, match=r"uses the operation sort\.\w+, which is not built"):
        built(export(nn.Sequential(Sorting(), nn.Linear(48, 2)).eval(), tmp_path / "s.pt2", 4))


def rewritten(path: Path, name: str, change: Callable[[dict[str, Any]], None], compression: int = 0) -> Path:
    """The archive with one JSON member changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compression) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith(name):
                document = json.loads(data)
                change(document)
                data = json.dumps(document).encode()
            new.writestr(info.filename, data)
    path.write_bytes(out.getvalue())
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return export(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval(), tmp_path / "small.pt2", 4)


def nodes(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["graph_module"]["graph"]["nodes"]
    return found


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "os.system", "torch.ops.higher_order.wrap", "torch.ops.aten.__class__"],
)
def test_a_hostile_program_is_refused(small: Path, target: str) -> None:
    rewritten(small, "models/model.json", lambda document: nodes(document)[-1].update(target=target))
    with pytest.raises(AdapterError, match="is not built"):
        built(small)


INJECTED = '"); open("STRANGER", "w").write("1"); ("'


def rename(document: dict[str, Any]) -> None:
    """Every tensor of the program gets a name that closes a string and goes on as code."""
    for spec in document["graph_module"]["signature"]["input_specs"]:
        if "parameter" in spec:
            spec["parameter"]["parameter_name"] = f"1{INJECTED}." + spec["parameter"]["parameter_name"].split(".")[-1]


def rename_weights(document: dict[str, Any]) -> None:
    document["config"] = {f"1{INJECTED}." + name.split(".")[-1]: entry for name, entry in document["config"].items()}


def keyword(document: dict[str, Any]) -> None:
    """An argument by a name that is code, on an operation that is listed."""
    for node in nodes(document):
        if "flatten" in node["target"] or "view" in node["target"]:
            node["inputs"][-1].update(kind=2, name=f"end_dim=1){INJECTED}")


def lying(document: dict[str, Any]) -> None:
    for node in nodes(document):
        if "flatten" in node["target"]:
            node["inputs"][-1]["arg"] = {"as_ints": [{"code": INJECTED}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [(rename, "uses the name"), (keyword, "argument of the name"), (lying, "no number or text")],
)
def test_names_in_a_program_never_become_code(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """fx writes names into source that it runs."""
    monkeypatch.chdir(tmp_path)
    rewritten(small, "models/model.json", change)
    if change is rename:
        rewritten(small, WEIGHTS, rename_weights)
    with pytest.raises(AdapterError, match=message) as caught:
        built(small)
    assert not (tmp_path / "STRANGER").exists()
    assert "\n" not in str(caught.value)


WEIGHTS = "data/weights/model_weights_config.json"


def entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["config"]["1.weight"]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: entry(d).update(use_pickle=True), "stored as a pickle"),
        (lambda d: entry(d)["tensor_meta"].update(storage_offset={"as_int": 7}), "reaching outside"),
        (lambda d: entry(d)["tensor_meta"].update(sizes=[{"as_int": 10**6}, {"as_int": 48}],
                                                  strides=[{"as_int": 0}, {"as_int": 1}]), "reaching outside"),
        (lambda d: entry(d)["tensor_meta"].update(dtype=99), "layout or type"),
        (lambda d: entry(d).update(path_name="../../../etc/passwd"), "cannot be read"),
    ],
)  # fmt: skip
def test_hostile_weights_are_refused(small: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    rewritten(small, WEIGHTS, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(small)
    assert "\n" not in str(caught.value)


def test_many_names_of_the_same_bytes_are_refused(tmp_path: Path) -> None:
    wide = export(nn.Sequential(nn.Flatten(), nn.Linear(48, 500)).eval(), tmp_path / "wide.pt2", 4)
    rewritten(wide, WEIGHTS, lambda d: d["config"].update({f"{i}.weight": entry(d) for i in range(2, 50)}))
    with pytest.raises(CheckpointError, match="4 times the file's size"):
        load_checkpoint(wide)


def test_compressed_members_are_refused(small: Path) -> None:
    rewritten(small, WEIGHTS, lambda _: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed member"):
        load_checkpoint(small)


def test_sample_inputs_are_never_unpickled(small: Path) -> None:
    with zipfile.ZipFile(small, "a") as archive:
        archive.writestr("small/data/sample_inputs/model.pt", b"\x80\x04cos\nsystem\n.")
    assert built(small).n_outputs == 2
