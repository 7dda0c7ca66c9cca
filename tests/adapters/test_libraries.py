"""`torchvision:NAME` and `timm:NAME`: classes from the head, strict weights, and what is said when it does not fit."""

import sys
from pathlib import Path

import pytest
import torch
from torchvision import models

from privaudit.adapters import build_target
from privaudit.adapters.interface import AttackTarget, InputOptions
from privaudit.adapters.libraries import head_size
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError

SMALL = {  # one of each family that is quick on a processor, and the side of its inputs
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "googlenet": 32, "inception_v3": 75,
    "mnasnet0_5": 32, "mobilenet_v3_small": 32, "regnet_y_400mf": 32, "resnet18": 32, "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32, "swin_t": 32, "vit_b_32": 64,
}  # fmt: skip


def checkpoint(module: torch.nn.Module, **metadata: str) -> Checkpoint:
    tensors = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    return Checkpoint(Path("model.pt"), tensors, "", "torch-zip", metadata)


def built(name: str, module: torch.nn.Module, side: int) -> AttackTarget:
    return build_target(checkpoint(module), name, InputOptions((3, side, side)))


@pytest.mark.parametrize("name", SMALL)
def test_every_family_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    extra = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    extra |= {"image_size": SMALL[name]} if name.startswith("vit") else {}
    module = models.get_model(name, weights=None, num_classes=7, **extra).eval()
    target = built(f"torchvision:{name}", module, SMALL[name])
    images = torch.randn(2, 3, SMALL[name], SMALL[name])
    expected = module(images).detach()
    torch.testing.assert_close(target.outputs(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert target.n_outputs == 7 and target.adapter == f"torchvision:{name}"


@pytest.mark.parametrize("name", [name for name in models.list_models(module=models) if "regnet" not in name])
def test_classes_are_read_off_every_head(name: str) -> None:
    extra = {"init_weights": False, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        default = models.get_model(name, weights=None, **extra).state_dict()
        other = models.get_model(name, weights=None, num_classes=7, **extra).state_dict()
    assert head_size(default, other) == 7
    assert head_size(default, default) is None


def test_timm() -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model("resnet10t", num_classes=5).eval()
    target = built("timm:resnet10t", module, 32)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(target.outputs(images), module(images).detach(), rtol=1e-4, atol=1e-5)
    assert target.n_outputs == 5


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(AdapterError, match=r'pip install "privaudit\[timm\]"') as caught:
        built("timm:resnet18", torch.nn.Linear(1, 1), 32)
    assert "\n" not in str(caught.value)


def refusal(name: str, module: torch.nn.Module, side: int | None = 32) -> str:
    with pytest.raises(AdapterError) as caught:
        build_target(checkpoint(module), name, InputOptions(None if side is None else (3, side, side)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals() -> None:
    network = models.resnet18(num_classes=3)
    assert "did you mean resnet18" in refusal("torchvision:resnet8", network)
    assert "tensors do not match" in refusal("torchvision:resnet34", network)
    assert "--input-shape (its published weights take 3,224,224)" in refusal("torchvision:resnet18", network, None)
    assert "name the network" in refusal("torchvision:", network)
    assert "torchvision:NAME" in refusal("torchvision", network)
