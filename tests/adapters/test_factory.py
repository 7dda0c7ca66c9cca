"""`file.py:factory`: a user's own network, and one test for each way it can go wrong."""

import sys
from pathlib import Path

import pytest
import torch

from privaudit.adapters import build_target
from privaudit.adapters.interface import AttackTarget, InputOptions
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError

EXAMPLE = Path(__file__).parents[2] / "examples" / "cnn_factory.py"
NETWORK = """
from dataclasses import dataclass
from torch import nn
import helper

@dataclass
class Size:
    width: int

class Net(nn.Module):
    {attribute}
    def __init__(self):
        super().__init__()
        print("building")
        self.out = nn.Linear(Size(5).width, 2)
        self.hidden = nn.Linear(4, 5)
    def forward(self, x):
        return self.out(self.hidden(x.flatten(1)).tanh()){suffix}

def factory():
    return Net()

def other():
    return 3

def failing():
    raise KeyError("first\\nsecond")

def leaving():
    raise SystemExit(7)
"""
STATE = {
    "out.weight": torch.ones(2, 5, dtype=torch.float64),
    "out.bias": torch.zeros(2),
    "hidden.weight": torch.ones(5, 4),
    "hidden.bias": torch.zeros(5),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("")
    path = tmp_path / "net.py"
    path.write_text(NETWORK.format(attribute="input_shape = (1, 2, 2)", suffix=""))
    return path


def build(
    source: str, state: dict[str, torch.Tensor] = STATE, options: InputOptions | None = None, **metadata: str
) -> AttackTarget:
    checkpoint = Checkpoint(Path("m"), dict(state), "", "torch-zip", metadata)
    return build_target(checkpoint, source, options or InputOptions())


def refusal(source: str, state: dict[str, torch.Tensor] = STATE) -> str:
    with pytest.raises(AdapterError) as caught:
        build(source, state)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_network_weights_order_and_assumption(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, modules = list(sys.path), set(sys.modules)
    torch.manual_seed(5)
    expected_draw = torch.rand(3)
    torch.manual_seed(5)
    target = build(f"{file}:factory")
    assert torch.equal(torch.rand(3), expected_draw)
    assert [layer.name for layer in target.layers] == ["hidden", "out"]
    assert target.input_shape == (1, 2, 2) and target.n_outputs == 2
    assert any(str(file) in text and "was run" in text for text in target.assumptions)
    outputs = target.outputs(torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(outputs, torch.full((1, 2), 5 * torch.tanh(torch.tensor(4.0)).item()))
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in target.module.parameters())
    assert not target.module.training
    assert sys.path == path and "privaudit_user_factory" not in set(sys.modules) - modules
    assert not (file.parent / "__pycache__").exists()
    assert capsys.readouterr().out == ""


def test_input_shape_options_before_metadata_before_attribute(file: Path) -> None:
    source = f"{file}:factory"
    assert build(source, input_shape="4,1,1").input_shape == (4, 1, 1)
    assert build(source, options=InputOptions(input_shape=(2, 1, 2)), input_shape="4,1,1").input_shape == (2, 1, 2)


def test_names_of_a_wrapper_in_the_users_own_network(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\nclass Net(nn.Module):\n    input_shape = (1, 2, 2)\n"
        "    def __init__(self):\n        super().__init__()\n        self.module = nn.Linear(4, 2)\n"
        "    def forward(self, x):\n        return self.module(x.flatten(1))\n"
    )
    assert build(f"{path}:Net", {"weight": torch.ones(2, 4), "bias": torch.ones(2)}).n_outputs == 2


def test_missing_file_or_function(file: Path) -> None:
    assert "no file" in refusal(f"{file.parent}/none.py:factory")
    message = refusal(f"{file}:build")
    assert "no function build" in message and "factory" in message
    assert "file.py:function" in refusal(str(file))


def test_functions_that_fail(file: Path) -> None:
    assert "KeyError" in refusal(f"{file}:failing")
    assert "SystemExit" in refusal(f"{file}:leaving")
    assert "gave a int" in refusal(f"{file}:other")
    file.write_text("this is no python")
    assert "SyntaxError" in refusal(f"{file}:factory")


def test_keys_that_do_not_match(file: Path) -> None:
    state = {**STATE, "extra": torch.ones(1), "hidden.weight": torch.ones(5, 3)}
    del state["out.bias"]
    message = refusal(f"{file}:factory", state)
    assert "missing in the file: out.bias" in message
    assert "unknown to the network: extra" in message
    assert "hidden.weight (5x3 for 5x4)" in message


@pytest.mark.parametrize(
    ("attribute", "suffix", "word"),
    [
        ("pass", "", "input shape is not stated"),
        ("input_shape = (2, 2)", "", "expected (C, H, W)"),
        ("input_shape = (1, 3, 3)", "", "forward pass"),
        ("input_shape = (1, 2, 2)", "[:, 0]", "shape 2 for two images"),
        ("input_shape = (1, 2, 2)", ", 1", "tuple"),
    ],
)
def test_shapes_in_and_out(file: Path, attribute: str, suffix: str, word: str) -> None:
    file.write_text(NETWORK.format(attribute=attribute, suffix=suffix))
    assert word in refusal(f"{file}:factory")


def test_example() -> None:
    state = {
        "conv.weight": torch.randn(32, 3, 3, 3),
        "conv.bias": torch.randn(32),
        "fc1.weight": torch.randn(200, 28800),
        "fc1.bias": torch.randn(200),
        "fc2.weight": torch.randn(10, 200),
    }
    by_factory = build(f"{EXAMPLE}:factory", state)
    by_shape = build("auto", state, InputOptions(input_shape=(3, 32, 32)))
    assert by_shape.adapter == "convnet"
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(by_factory.outputs(images), by_shape.outputs(images))
    assert by_factory.layers == by_shape.layers


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("return torch.from_numpy(self.out(x.flatten(1)).detach().numpy())", "cannot follow"),
        ("return torch.from_numpy(self.out(x.flatten(1)).numpy())", "failed with"),
        ("with torch.no_grad(): return self.out(x.flatten(1))", "cannot follow"),
        ("y = self.out(x.flatten(1)); return y * (1 if y.detach().numpy().sum() > 0 else 2)", "failed with"),
        ("return self.out(x.flatten(1)) + torch.rand(len(x), 2)", "on chance"),
        ("return self.out(x.flatten(1) - x.flatten(1).mean(0))", "other images of its batch"),
    ],
)
def test_networks_that_cannot_be_differentiated(tmp_path: Path, forward: str, message: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\nclass Net(torch.nn.Module):\n input_shape = (1, 2, 2)\n"
        " def __init__(self):\n  super().__init__()\n  self.out = torch.nn.Linear(4, 2)\n"
        f" def forward(self, x):\n  {forward}\n"
        "def factory():\n return Net()\n"
    )
    state = {"out.weight": torch.randn(2, 4), "out.bias": torch.zeros(2)}
    with pytest.raises(AdapterError, match=message) as caught:
        build_target(Checkpoint(Path("m.pt"), state, "", "torch-zip", {}), f"{path}:factory", InputOptions())
    assert "\n" not in str(caught.value)
