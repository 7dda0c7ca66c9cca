"""End to end on a small network trained here: a planted leak is found, and nothing where there is nothing."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from privaudit.audit import scan
from privaudit.config import ScanSettings
from privaudit.errors import PrivauditError
from privaudit.progress import SilentListener
from privaudit.result import Instrument
from privaudit.training import TrainingSettings, train, untrained_tensors

N_MEMBERS, N_CONTROLS = 30, 400
NETWORK = TrainingSettings((64, 200, 10), "cross_entropy", 0.002, 400)
METADATA = {"input_shape": "1,8,8", "activation": "relu", "loss": "cross_entropy", "weight_decay": "0.002"}


def write_images(path: Path, pixels: torch.Tensor) -> None:
    np.savez(path, images=(pixels.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Checkpoints and image sets: 30 digits trained on, 400 controls and 30 more that were not."""
    folder = tmp_path_factory.mktemp("audit")
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    pixels = torch.from_numpy(digits.images[order] / 16).float()[:, None]
    labels = torch.from_numpy(digits.target[order])
    mean = pixels[:N_MEMBERS].mean(0)
    trained = train(pixels[:N_MEMBERS] - mean, labels[:N_MEMBERS], NETWORK)
    save_file(trained.tensors, folder / "trained.safetensors", metadata=METADATA)
    save_file(untrained_tensors(NETWORK), folder / "untrained.safetensors", metadata=METADATA)
    np.save(folder / "mean.npy", mean.numpy())
    write_images(folder / "members.npz", pixels[:N_MEMBERS])
    write_images(folder / "controls.npz", pixels[N_MEMBERS : N_MEMBERS + N_CONTROLS])
    write_images(folder / "others.npz", pixels[-N_MEMBERS:])
    return folder


@pytest.fixture(scope="module", autouse=True)
def without_instrument():
    """The instrument's own positive and negative controls have tests of their own and take seconds a scan."""
    with pytest.MonkeyPatch.context() as patch:
        untested = Instrument(positive_control="not_run", negative_control="not_run")
        patch.setattr("privaudit.audit._instrument", lambda *_: untested)
        yield


def scan_with(folder: Path, out: Path, changes: dict[str, object], model: str = "trained", reference: str = "members"):
    values = {
        "model": folder / f"{model}.safetensors",
        "reference": str(folder / f"{reference}.npz"),
        "control": str(folder / "controls.npz"),
        "mean": str(folder / "mean.npy"),
        "out": out,
        "budget": "quick",
        "restarts": 3,
        "device": "cpu",
    }
    return scan(ScanSettings(**(values | changes)), SilentListener(), "privaudit scan")


def run(folder: Path, out: Path, model: str = "trained", reference: str = "members"):
    return scan_with(folder, out, {}, model, reference)


@pytest.fixture(scope="module")
def leaking(folder, tmp_path_factory):
    """A scan with its output folder, written under a permissive umask."""
    out = tmp_path_factory.mktemp("out") / "audit"
    before = os.umask(0)
    try:
        return run(folder, out), out
    finally:
        os.umask(before)


def test_a_planted_leak_is_found(leaking):
    result = leaking[0].result
    assert result.verdict.status == "leak_found"
    membership = result.evidence.membership
    assert membership.applicable and membership.controls_found == 0
    assert membership.members_found == N_MEMBERS and membership.p_value < 1e-20
    assert result.preflight.estimated_training_images in range(N_MEMBERS - 1, N_MEMBERS + 2)
    assert result.preflight.explained_by_reference > 0.95
    # Refined, as its metadata name loss and weight decay; its second layer is too narrow for a feature span.
    assert [run.objective for run in result.attack.runs] == ["general_loss", "tied_equation"]
    assert any("cross entropy loss with weight decay" in said for said in result.attack.knowledge)
    assert all(run.status == "finished" for run in result.attack.runs)
    assert result.attack.explained > 0.5
    assert (result.evidence.members, result.evidence.controls) == (N_MEMBERS, N_CONTROLS)
    assert result.evidence.calibrated_threshold.placebo_quantile is not None


def test_its_files_are_private_and_complete(leaking):
    outcome, out = leaking
    assert outcome.files[0] == out / "result.json"
    assert set(outcome.files) <= {path for path in out.rglob("*") if path.is_file()}
    assert any(path.suffix == ".html" and path.stat().st_size > 10_000 for path in outcome.files)
    for path in outcome.files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    tensors = load_file(out / "reconstructions.safetensors")
    assert tensors["images"].shape == (outcome.result.attack.reconstructions, 1, 8, 8)
    assert tensors["record_images"].shape == (N_MEMBERS, 1, 8, 8)
    best = {r.reconstruction for r in outcome.result.evidence.records}
    assert best <= set(range(len(tensors["images"])))


def test_the_same_seed_gives_the_same_numbers(folder, leaking, tmp_path):
    again = run(folder, tmp_path / "again").result
    first = leaking[0].result
    assert [r.ssim for r in again.evidence.records] == [r.ssim for r in first.evidence.records]
    assert again.evidence.calibrated_threshold == first.evidence.calibrated_threshold


def test_an_untrained_twin_leaks_nothing(folder, tmp_path):
    result = run(folder, tmp_path / "out", "untrained").result
    assert result.verdict.status != "leak_found"
    assert result.preflight.objectives == () and not result.evidence.membership.applicable
    assert result.attack.reconstructions == 0
    assert not any(record.leaked or record.membership_found for record in result.evidence.records)


def test_images_the_network_never_saw_do_not_leak(folder, tmp_path):
    result = run(folder, tmp_path / "out", reference="others").result
    assert result.verdict.status != "leak_found"
    assert result.attack.reconstructions > 0
    assert result.evidence.membership.members_found <= 2  # each passes with probability 1 / 401
    assert result.evidence.calibrated_threshold.p_value > 0.01


def test_without_a_reference_images_are_rebuilt_and_nothing_is_claimed(folder, tmp_path):
    result = scan_with(folder, tmp_path / "out", {"reference": None, "control": None}).result
    assert result.evidence is None and result.verdict.status == "inconclusive"
    assert result.attack.reconstructions > 0
    assert "record_images" not in load_file(tmp_path / "out" / "reconstructions.safetensors")


def _small(folder: Path) -> dict[str, object]:
    write_images(folder / "small.npz", torch.rand(5, 1, 7, 7))
    return {"reference": str(folder / "small.npz")}


def _nan(folder: Path) -> dict[str, object]:
    tensors = untrained_tensors(NETWORK)
    tensors["layers.0.weight"][3, 4] = torch.nan
    save_file(tensors, folder / "nan.safetensors", metadata=METADATA)
    return {"model": folder / "nan.safetensors"}


def _truncated(folder: Path) -> dict[str, object]:
    (folder / "half.safetensors").write_bytes((folder / "trained.safetensors").read_bytes()[:5000])
    return {"model": folder / "half.safetensors"}


def _mean(folder: Path) -> dict[str, object]:
    np.save(folder / "wrong.npy", np.zeros((1, 9, 9), dtype=np.float32))
    return {"mean": str(folder / "wrong.npy")}


BAD = {
    "missing model": lambda folder: {"model": folder / "absent.safetensors"},
    "truncated model": _truncated,
    "NaN in the weights": _nan,
    "reference of another size": _small,
    "missing reference": lambda folder: {"reference": str(folder / "absent")},
    "mean of another shape": _mean,
    "controls that are the reference": lambda folder: {"control": str(_copy(folder))},
}


def _copy(folder: Path) -> Path:
    (folder / "copy.npz").write_bytes((folder / "members.npz").read_bytes())
    return folder / "copy.npz"


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_no_files(folder, tmp_path, spoil):
    changes = spoil(folder)
    out = tmp_path / "out"
    with pytest.raises(PrivauditError) as caught:
        scan_with(folder, out, changes)
    assert "\n" not in str(caught.value)
    assert not out.exists() or list(out.iterdir()) == []
