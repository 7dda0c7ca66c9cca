import math

import pytest
import torch

from privaudit.errors import ConfigError
from privaudit.study import targets
from privaudit.study.recipe import Recipe
from privaudit.study.targets import build_network, is_right, loss_function, metadata

SHAPE = (1, 8, 8)
OUTPUTS = torch.tensor([[2.0], [-0.5], [0.25]])
SIGNS = torch.tensor([1.0, 1.0, -1.0])


def recipe(**changes):
    hidden = {} if "architecture" in changes and ".py" in changes["architecture"] else {"hidden": (12, 10)}
    return Recipe(**{**hidden, "labels": "two_groups", "loss": "mse", **changes})


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("mse", lambda f, t: (f - t) ** 2),
        ("logistic", lambda f, t: math.log1p(math.exp(-t * f))),
        ("huber", lambda f, t: (f - t) ** 2 / 2 if abs(f - t) <= 1 else abs(f - t) - 0.5),
        ("power:2.5", lambda f, t: abs(f - t) ** 2.5),
    ],
)
def test_losses_are_their_formulas(loss, formula):
    expected = sum(formula(float(f), float(t)) for f, t in zip(OUTPUTS[:, 0], SIGNS, strict=True)) / 3
    assert float(loss_function(recipe(loss=loss))(OUTPUTS, SIGNS)) == pytest.approx(expected)


def test_sides():
    assert is_right(recipe(), OUTPUTS, SIGNS).tolist() == [True, False, False]
    classes = Recipe()
    assert is_right(classes, torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([0, 0])).tolist() == [True, False]
    assert is_right(recipe(labels="regression"), OUTPUTS, SIGNS) is None


def test_a_small_first_layer_leaves_the_others_as_they_are():
    plain, small = (build_network(recipe(init=init), SHAPE, 1).state_dict() for init in ("default", "small"))
    assert float(small["layers.0.weight"].std()) == pytest.approx(1e-4, rel=0.1)
    assert float(small["layers.0.bias"].abs().max()) < 1e-3
    assert float(plain["layers.0.weight"].abs().max()) == pytest.approx(1 / 8, rel=0.05)
    assert float(small["layers.1.weight"].abs().max()) == pytest.approx(12**-0.5, rel=0.05)


@pytest.mark.parametrize("bias", ["first", "all"])
@pytest.mark.parametrize("architecture", ["mlp", "convnet"])
def test_biases_and_outputs(architecture, bias):
    convolutions = {"channels": (4, 6), "kernel": 2, "pool": "max2"} if architecture == "convnet" else {}
    module = build_network(recipe(architecture=architecture, bias=bias, **convolutions), SHAPE, 3)
    assert module(torch.zeros(2, *SHAPE)).shape == (2, 3)
    n_layers = {"mlp": 3, "convnet": 5}[architecture]
    assert sum(name.endswith("bias") for name in module.state_dict()) == (1 if bias == "first" else n_layers)


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = build_network(recipe(), SHAPE, 1).state_dict()
    torch.manual_seed(2)
    assert all(
        torch.equal(first[name], value) for name, value in build_network(recipe(), SHAPE, 1).state_dict().items()
    )
    other = build_network(recipe(seed=1), SHAPE, 1).state_dict()
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_a_network_larger_than_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(targets, "available_memory", lambda: 10 * 2**20)
    with pytest.raises(ConfigError, match=r"fits in memory with gradients, 0.0 GiB, found one that takes 0.1 GiB"):
        build_network(recipe(hidden=(3000, 3000)), SHAPE, 1)
    assert build_network(recipe(), SHAPE, 1) is not None


def test_a_users_loss_that_fails_is_one_line(tmp_path):
    (tmp_path / "mine.py").write_text("def loss(outputs, targets):\n    return outputs @ targets\n")
    with pytest.raises(ConfigError, match=r"mean loss of outputs \(3, 1\) and targets \(3,\) .*correct the function"):
        loss_function(recipe(loss=f"{tmp_path}/mine.py:loss"))(OUTPUTS, SIGNS)


def test_convolutions_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match="convolutions that fit 8x8 inputs"):
        build_network(recipe(architecture="convnet", channels=(4, 4, 4), pool="max2"), SHAPE, 1)


CODE = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 2))

def broken():
    raise RuntimeError("no\\nluck")

def cubic(outputs, targets):
    return ((outputs[:, 0] - targets).abs() ** 3).mean()

def constant(outputs, targets):
    return 3.0
"""


def test_a_users_network_and_loss(tmp_path):
    (tmp_path / "own.py").write_text(CODE)
    file = f"{tmp_path}/own.py"
    module = build_network(recipe(architecture=f"{file}:net"), SHAPE, 2)
    assert module(torch.zeros(3, *SHAPE)).shape == (3, 2)
    again = build_network(recipe(architecture=f"{file}:net"), SHAPE, 2)
    assert torch.equal(module[1].weight, again[1].weight)
    assert float(loss_function(recipe(loss=f"{file}:cubic"))(OUTPUTS, SIGNS)) == pytest.approx(
        (1 + 1.5**3 + 1.25**3) / 3
    )
    for source, call in [
        (f"{file}:net", lambda s: build_network(recipe(architecture=s), SHAPE, 5)),
        (f"{file}:broken", lambda s: build_network(recipe(architecture=s), SHAPE, 1)),
        (f"{file}:missing", lambda s: build_network(recipe(architecture=s), SHAPE, 1)),
        (f"{file}:missing", lambda s: loss_function(recipe(loss=s))),
        (f"{file}:constant", lambda s: loss_function(recipe(loss=s))(OUTPUTS.clone().requires_grad_(), SIGNS)),
    ]:
        with pytest.raises(ConfigError, match="expected") as caught:
            call(source)
        assert "\n" not in str(caught.value)


def test_metadata_say_what_a_scan_asks_for_and_no_path(tmp_path):
    said = metadata(recipe(loss="mse", data="/secret/faces.npz"), SHAPE, 1, 20)
    assert said["loss"] == "mse (mean) on labels -1 and +1"
    assert said["input_shape"] == "1,8,8" and said["trained_samples"] == "20" and said["weight_decay"] == "0.001"
    own = metadata(recipe(architecture="/secret/a.py:net", loss="/secret/a.py:loss"), SHAPE, 1, 20)
    assert "secret" not in str(said) + str(own)
    conv = metadata(recipe(architecture="convnet", pool="avg2"), SHAPE, 1, 20)
    assert (conv["stride"], conv["padding"], conv["pool"]) == ("1", "none", "avg2")
