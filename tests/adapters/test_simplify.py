"""Folding BatchNorm and recognising linear chains: the same function in float64, or the module as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

from privaudit.adapters.simplify import simplified
from privaudit.networks import ReluMlp

SHAPE = (3, 4, 4)


def trained(module: nn.Module) -> nn.Module:
    """With BatchNorm statistics and weights as training leaves them: not at their start."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)
    return module.eval()


def mlp(*between: nn.Module) -> nn.Module:
    return trained(nn.Sequential(nn.Flatten(), nn.Linear(48, 7, bias=False), *between, nn.Linear(7, 2)))


class Functional(nn.Module):
    """A user's module with calls instead of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.first = nn.Linear(7, 2), nn.Linear(48, 7)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(nn.functional.dropout(self.first(inputs.flatten(1)).relu(), training=self.training))


def assert_same(one: nn.Module, other: nn.Module) -> None:
    probe = torch.randn(16, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = copy.deepcopy(one).double()(probe), copy.deepcopy(other).double()(probe)
    # The simplified module holds float32 weights, so folding is exact to their precision only.
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("affine", [True, False])
def test_batchnorm_of_a_chain_is_folded(affine: bool) -> None:
    module = mlp(nn.BatchNorm1d(7, affine=affine), nn.ReLU(), nn.Dropout())
    found = simplified(module, SHAPE)
    assert isinstance(found.module, ReluMlp) and found.is_folded
    assert "1 BatchNorm layers folded" in found.sentences[0]
    assert_same(module, found.module)


def test_a_functional_chain_is_recognised() -> None:
    module = Functional().eval()
    found = simplified(module, SHAPE)
    assert isinstance(found.module, ReluMlp) and not found.is_folded
    assert [layer.in_features for layer in found.module.linear_layers()] == [48, 7]
    assert_same(module, found.module)


@pytest.mark.parametrize(
    "between",
    [nn.Tanh(), nn.LeakyReLU(0.01), nn.ReLU6(), nn.Hardtanh(0, 20), nn.Softplus(50), nn.Identity()],
    ids=lambda module: type(module).__name__,
)
def test_other_activations_are_no_chain(between: nn.Module) -> None:
    module = mlp(between)
    assert simplified(module, SHAPE).module is module


def test_convolutions_behind_a_residual_path_are_folded() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn, self.out = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(48, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.out((inputs + self.bn(self.conv(inputs))).relu().flatten(1))

    module = trained(Residual())
    found = simplified(module, SHAPE)
    assert found.is_folded and not any(isinstance(child, nn.BatchNorm2d) for child in found.module.modules())
    assert_same(module, found.module)


def test_a_normalisation_before_its_layer_stays() -> None:
    module = trained(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)))
    found = simplified(module, SHAPE)
    assert found.module is module and not found.is_folded


def test_control_flow_that_cannot_be_traced_stays() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 2, 4), nn.BatchNorm2d(2)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.bn(self.conv(inputs)) if float(inputs.sum()) > 0 else self.conv(inputs)
            return hidden.flatten(1)

    module = trained(Branching())
    assert simplified(module, SHAPE).module is module
