"""BatchNorm in plain state dicts: found, placed behind its layer and folded; refused where that cannot be told."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from privaudit.adapters import build_target
from privaudit.adapters.interface import AttackTarget, InputOptions
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError
from privaudit.networks import ReluMlp
from tests.adapters.test_simplify import trained


class Named(nn.Module):
    """Names as in a ResNet: `bn1` sorts before `conv1`."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=eps)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, eps=eps)
        self.fc = nn.Linear(4 * 6 * 6, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(self.bn1(self.conv1(inputs)).relu())).relu()
        return self.fc(hidden.flatten(1))


def built(module: nn.Module, **metadata: str) -> AttackTarget:
    tensors = {name: tensor.detach() for name, tensor in sorted(module.state_dict().items())}
    stated = {"input_shape": "3,6,6", **metadata}
    return build_target(Checkpoint(Path("m"), tensors, "", "safetensors", stated), "auto", InputOptions())


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_convolutions_with_normalisations(eps: float) -> None:
    module = trained(Named(eps))
    target = built(module, padding="1", pool="none", stride="1", batch_norm_eps=str(eps))
    images = torch.randn(5, 3, 6, 6)
    torch.testing.assert_close(target.outputs(images), module(images).detach(), rtol=1e-4, atol=1e-5)
    assert target.adapter == "convnet" and target.trained is not None
    torch.testing.assert_close(target.trained(images), module(images), rtol=1e-5, atol=1e-6)
    assert target.n_parameters == sum(p.numel() for p in module.parameters())
    assert not any(isinstance(child, nn.BatchNorm2d) for child in target.module.modules())
    assert any("between its layer and the ReLU" in text for text in target.assumptions)


def test_a_sequential_mlp_becomes_a_chain() -> None:
    module = trained(
        nn.Sequential(nn.Flatten(), nn.Linear(108, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(),
                      nn.Linear(9, 2))
    )  # fmt: skip
    target = built(module)
    assert isinstance(target.module, ReluMlp) and target.adapter == "mlp"
    images = torch.randn(5, 3, 6, 6)
    torch.testing.assert_close(target.outputs(images), module(images).detach(), rtol=1e-4, atol=1e-5)


def refusal(module: nn.Module, remove: str = "", **metadata: str) -> str:
    tensors = {name: tensor.detach() for name, tensor in module.state_dict().items() if name != remove}
    stated = {"input_shape": "3,6,6", "padding": "1", "pool": "none", **metadata}
    with pytest.raises(AdapterError) as caught:
        build_target(Checkpoint(Path("m"), tensors, "", "torch-zip", stated), "convnet", InputOptions())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals() -> None:
    assert "lacks part of its tensors" in refusal(Named(), remove="bn1.running_var")
    assert "lacks part of its tensors" in refusal(Named(), remove="bn2.bias")
    assert "'one'" in refusal(Named(), batch_norm_eps="one")
    lone = Named()
    lone.bn2 = nn.Identity()  # type: ignore[assignment]
    assert "cannot be told which layers" in refusal(lone)
    longer = Named()
    longer.bn1 = nn.BatchNorm2d(7)
    assert "cannot be told which layers" in refusal(longer)
