"""What a network's structure and metadata say about the equation."""

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from privaudit.applicability import normalisations, structure, training

SHAPE = (3, 16, 16)


def said(*layers: nn.Module) -> str:
    return " ".join(structure(nn.Sequential(nn.Flatten(), *layers).eval(), SHAPE))


def test_a_published_network_has_nothing_to_say() -> None:
    assert said(nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False)) == ""


def test_each_trait_by_itself() -> None:
    head = nn.Linear(8, 2, bias=False)
    first = nn.Linear(768, 8, bias=False)
    assert "2 layers have a bias" in said(nn.Linear(768, 8), nn.Linear(8, 2))
    assert "Normalisation (1 LayerNorm)" in said(first, nn.LayerNorm(8), head)
    assert "1 dropout layers" in said(first, nn.Dropout(0.1), head)
    assert "dropout" not in said(first, nn.Dropout(0.0), head)


def test_residual_sums_are_told_from_biases() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.shift = nn.Linear(768, 768), nn.Parameter(torch.zeros(1, 768))

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = inputs.flatten(1) + self.shift
            hidden = hidden + self.layer(hidden)
            hidden += inputs.flatten(1)
            return hidden

    assert "2 residual sums" in " ".join(structure(Residual().eval(), SHAPE))


@pytest.mark.parametrize(
    ("name", "traits"),
    [("resnet18", ("20 BatchNorm2d", "8 residual sums")), ("vit_b_32", ("Attention", "LayerNorm", "residual"))],
)
def test_networks_of_torchvision(name: str, traits: tuple[str, ...]) -> None:
    network = models.get_model(name, weights=None, **({"image_size": 32} if "vit" in name else {})).eval()
    sentences = " ".join(structure(network, (3, 32, 32)))
    assert all(trait in sentences for trait in traits)


def test_normalisations_of_other_libraries_are_named_after_what_they_do() -> None:
    class FancyNorm2d(nn.Module):
        pass

    assert normalisations(nn.Sequential(FancyNorm2d(), nn.BatchNorm2d(3))) == {"FancyNorm2d": 1, "BatchNorm2d": 1}


def test_training() -> None:
    assert training({"weight_decay": "0.001", "optimizer": "AdamW"}) == ()
    assert "margin" in training({"weight_decay": "0", "optimiser": "Adam"})[0]
    assert "does not say" in training({})[0]
    assert len(training({"optimizer": "adam"})) == 2
