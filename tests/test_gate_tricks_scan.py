"""Tricks at the scan: a whole scan of a network that leaks, set up so that the gate might turn green.

The network is the one of the instrument's positive control: twelve pictures learnt by heart. The policy is generous
(half of the records may leak), since with an allowance of 0 nothing but an unread result would be green.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import save_file

from privaudit.audit import scan
from privaudit.cli import run
from privaudit.config import ScanSettings
from privaudit.instrument import positive_recipe
from privaudit.planted import Planted
from privaudit.progress import SilentListener
from privaudit.result import Instrument

Images = NDArray[np.uint8]
ALLOWED = 6


@pytest.fixture(scope="module")
def planted() -> Planted:
    return positive_recipe()


@pytest.fixture(scope="module")
def folder(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tricks")
    save_file(planted.trained().tensors, folder / "model.safetensors", metadata=planted.metadata)
    np.save(folder / "mean.npy", planted.mean[None])
    images(folder, "members", planted.members)
    images(folder, "controls", planted.controls)
    return folder


@pytest.fixture(autouse=True)
def checked_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a scan would find it; running it takes seconds, and with `not_run` nothing would be green anyway."""
    passed = Instrument(positive_control="passed", negative_control="passed")
    monkeypatch.setattr("privaudit.audit._instrument", lambda *_: passed)


def images(folder: Path, name: str, pixels: Images) -> str:
    path = folder / f"{name}.npz"
    np.savez(path, images=pixels)
    return str(path)


@pytest.fixture
def gated(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Scan with these settings, then gate; the exit code and what the gate said."""

    def scan_and_gate(**changes: Any) -> tuple[int, str]:
        settings = {
            "model": folder / "model.safetensors",
            "reference": str(folder / "members.npz"),
            "control": str(folder / "controls.npz"),
            "mean": str(folder / "mean.npy"),
            "out": tmp_path / "audit",
            "budget": "quick",
            "restarts": 4,
            "device": "cpu",
            "format": ("markdown",),
        }
        scan(ScanSettings(**(settings | changes)), SilentListener(), "privaudit scan")
        policy = tmp_path / "policy.toml"
        policy.write_text(f"[allow]\nrebuilt = {ALLOWED}\nreadable = {ALLOWED}\n")
        code = run(["gate", str(tmp_path / "audit/result.json"), "--policy", str(policy)])
        return code, capsys.readouterr().err

    return scan_and_gate


def test_the_network_leaks_and_its_result_agrees_with_itself(gated):
    code, said = gated()
    assert (code, "- failed membership: 12 of 12 records" in said) == (1, True), said


def test_a_budget_of_no_time(gated):
    code, said = gated(time_limit_s=1e-4)
    assert (code, "12 of 12 records readable" in said) == (1, True), said
    assert "The time limit ended general_loss before its planned work was done" in said


def test_a_reference_of_the_wrong_data(gated, planted, folder):
    """Pictures of the same kind that the network never saw: nothing of them leaks, and that says nothing."""
    strangers = planted.strangers()
    code, said = gated(
        reference=images(folder, "strangers", strangers.members),
        control=images(folder, "other_controls", strangers.controls),
    )
    assert (code, "the reference is not what this network was trained on" in said) == (3, True), said


NEAR_COPIES: dict[str, Callable[[Images], Images]] = {
    "flipped": lambda x: x[:, :, ::-1],
    "shifted": lambda x: np.roll(x, 1, axis=2),
    "brighter": lambda x: np.clip(x.astype(int) + 20, 0, 255).astype(np.uint8),
    "noisy": lambda x: np.clip(x.astype(int) + np.random.default_rng(0).integers(-20, 21, x.shape), 0, 255).astype(
        np.uint8
    ),
}


@pytest.mark.parametrize("change", NEAR_COPIES.values(), ids=NEAR_COPIES)
def test_copies_of_members_among_the_controls(change, gated, planted, folder):
    spiked = np.concatenate([change(planted.members), planted.controls])
    code, said = gated(control=images(folder, "spiked", spiked))
    assert (code, "12 of 12 records readable as members" in said) == (1, True), said


def test_members_among_the_controls(gated, planted, folder):
    spiked = np.concatenate([planted.members, planted.controls])
    code, said = gated(control=images(folder, "spiked", spiked))
    assert (code, "12 of 12 records readable as members" in said) == (1, True), said


def test_controls_that_are_the_members(gated, planted, folder):
    with pytest.raises(Exception, match="every one of its 12 images also in the reference"):
        gated(control=images(folder, "copied", planted.members.copy()))


@pytest.mark.parametrize("n_copies", [1, 200])
def test_a_control_set_of_one_image(n_copies, gated, planted, folder):
    code, said = gated(control=images(folder, "one", np.repeat(planted.controls[:1], n_copies, axis=0)))
    assert (code, "needs at least 100 controls; there are 1" in said) == (3, True), said


def test_members_that_are_counted_twice(gated, planted, folder):
    """More records of the same pictures are more leaks, not a smaller share."""
    code, said = gated(reference=images(folder, "twice", np.concatenate([planted.members, planted.members])))
    assert (code, "records readable as members" in said) == (1, True), said


ADAPTER = """
from torch import nn

class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        shapes = ((625, 300, True), (300, 300, False), (300, 12, False))
        self.layers = nn.ModuleList([nn.Linear(a, b, bias) for a, b, bias in shapes])

    def forward(self, x):
        return x.flatten(1)[:, :12] * 0

def network():
    return Constant()
"""


def test_an_adapter_that_returns_constants(gated, folder, tmp_path):
    file = tmp_path / "constant.py"
    file.write_text(ADAPTER)
    code, said = gated(model=folder / "model.safetensors", adapter=f"{file}:network", input_shape="1,25,25")
    assert code in (1, 3), said
    assert "no_leak_found" not in said


def test_the_result_of_a_scan_is_what_verify_calls_intact(gated, tmp_path):
    gated()
    result = tmp_path / "audit/result.json"
    assert run(["verify", str(result), "--reconstructions"]) == 0
    document = json.loads(result.read_text())
    assert run(["verify", str(result), "--model", str(Path(document["model"]["path"]))]) == 0
    (tmp_path / "audit/reconstructions.safetensors").unlink()
    assert run(["verify", str(result), "--reconstructions"]) == 2
