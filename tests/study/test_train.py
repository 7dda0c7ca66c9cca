import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from privaudit.audit import scan
from privaudit.config import load_settings
from privaudit.errors import ConfigError, PrivauditError
from privaudit.planted import one_thread
from privaudit.progress import SilentListener
from privaudit.study.recipe import Recipe
from privaudit.study.train import STATE_FILE, train_target


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


def recipe(**changes):
    hidden = {} if ".py:" in changes.get("architecture", "") else {"hidden": (40, 40)}
    return Recipe(**{"data": "digits", "images_per_class": 2, "controls": 120, **hidden, **changes})


def trained(out, **changes):
    return train_target(recipe(**changes), out, SilentListener())


CASES = {
    "classes": {},
    "binary": {"labels": "two_groups", "loss": "logistic", "weight_decay": 0.0, "init": "small", "optimiser": "gd",
               "epochs": 3000, "stop_loss": 1e-4, "tolerance": 0.0},
    "huber": {"labels": "two_groups", "loss": "huber"},
    "regression": {"labels": "regression", "loss": "power:2.5"},
    "convolution": {"architecture": "convnet", "channels": (4,), "hidden": (20,), "weight_decay": 5e-3},
    "batches": {"optimiser": "adam", "batch_size": 5, "epochs": 60, "tolerance": 0.0},
    "augmented": {"optimiser": "sgd", "augmentation": "flip_shift", "epochs": 60, "momentum": 0.9},
    "private": {"optimiser": "sgd", "batch_size": 5, "dp_noise": 1.0, "epochs": 10, "tolerance": 0.0},
    "stopped early": {"optimiser": "adam", "early_stopping": 10, "epochs": 400, "tolerance": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_what_a_scan_reads(case, tmp_path):
    target = trained(tmp_path, **CASES[case])
    assert target.model == tmp_path / "model.safetensors"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "images.npz", "model.mean.npy", "model.safetensors", "privaudit.toml", "train.toml", "training.json",
        "training.jsonl",
    ]  # fmt: skip
    assert all(p.stat().st_mode & 0o077 == 0 for p in tmp_path.iterdir())
    looks = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    summary = json.loads((tmp_path / "training.json").read_text())
    assert summary == target.summary.model_dump()
    assert looks[-1]["epoch"] >= summary["epochs"] and looks == sorted(looks, key=lambda look: look["epoch"])
    with np.load(tmp_path / "images.npz") as archive:
        assert archive["member_images"].shape == (20, 8, 8) and archive["control_images"].shape == (120, 8, 8)
        mean = np.full((8, 8), 0.5) if case == "private" else (archive["member_images"] / 255).mean(0)
    assert np.allclose(np.load(tmp_path / "model.mean.npy")[0], mean, atol=1e-6)
    assert (summary["epsilon"] is not None) == (case == "private")
    assert (summary["accuracy"] is None) == (case == "regression")


def test_a_scan_of_it_needs_no_options_and_finds_what_it_was_trained_on(tmp_path):
    target = trained(tmp_path, images_per_class=1, hidden=(150, 150), weight_decay=1e-2, tolerance=0.05)
    settings, _ = load_settings(target.model, {"out": tmp_path / "audit", "instrument_check": False}, {}, tmp_path)
    result = scan(settings, SilentListener(), "test").result
    assert result.evidence.members == 10 and result.evidence.controls == 120
    assert result.verdict.status == "leak_found"
    assert result.attack.mode == "general_loss"
    assert result.evidence.membership.members_found >= 9


def test_accuracies_are_those_of_the_checkpoint(tmp_path):
    target = trained(tmp_path, tolerance=0.3)
    tensors = load_file(target.model)
    with np.load(target.images) as archive:
        pixels = torch.from_numpy(archive["member_images"]).float().flatten(1) / 255
        labels = torch.from_numpy(archive["member_labels"])
    inputs = pixels - torch.from_numpy(np.load(tmp_path / "model.mean.npy")).flatten()
    hidden = torch.relu(inputs @ tensors["layers.0.weight"].T + tensors["layers.0.bias"])
    outputs = torch.relu(hidden @ tensors["layers.1.weight"].T) @ tensors["layers.2.weight"].T
    assert target.summary.accuracy == float((outputs.argmax(1) == labels).float().mean())
    loss = torch.nn.functional.cross_entropy(outputs, labels)
    assert target.summary.loss == pytest.approx(float(loss), rel=1e-3)
    assert target.summary.residual <= 0.3 and target.summary.status == "stationary"
    assert 0.3 < target.summary.held_out_accuracy < 1
    with safe_open(target.model, "pt") as file:
        assert file.metadata()["weight_decay"] == "0.001"


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second = (trained(tmp_path / name, **CASES["batches"]).model.read_bytes() for name in "ab")
    assert first == second
    assert trained(tmp_path / "c", **CASES["batches"], seed=1).model.read_bytes() != first


def test_early_stopping_keeps_the_best_weights(tmp_path):
    target = trained(tmp_path, **CASES["stopped early"])
    looks = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    best = max(looks, key=lambda look: look["held_out_score"])
    assert target.summary.status == "stopped_early"
    assert target.summary.epochs == best["epoch"] < looks[-1]["epoch"]
    assert target.summary.held_out < 1797 - 20 - 500  # a third of what is left was looked at


def test_a_diverging_training_is_one_line_and_leaves_no_checkpoint(tmp_path):
    with pytest.raises(PrivauditError, match="lower --learning-rate"):
        trained(tmp_path, optimiser="sgd", learning_rate=1e12, epochs=50)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("case", ["classes", "batches"])
def test_interrupted_and_resumed_it_ends_with_the_same_bytes(case, tmp_path):
    whole = trained(tmp_path / "whole", **CASES[case])

    listener, n_events = SilentListener(), 0

    class Stop:
        stage, note = listener.stage, listener.note

        def trial(self, progress):
            nonlocal n_events
            n_events += 1
            if n_events == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_target(recipe(**CASES[case]), tmp_path / "cut", Stop())
    assert (tmp_path / "cut" / STATE_FILE).stat().st_mode & 0o077 == 0
    resumed = train_target(recipe(**CASES[case]), tmp_path / "cut", listener, resume=True)
    assert resumed.model.read_bytes() == whole.model.read_bytes()
    assert not (tmp_path / "cut" / STATE_FILE).exists()
    logs = [
        [json.loads(line)["epoch"] for line in (tmp_path / name / "training.jsonl").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    assert logs[0] == logs[1]


def test_what_is_finished_is_not_trained_again(tmp_path):
    whole = trained(tmp_path)
    notes = []

    class Listener:
        def stage(self, name, message):
            assert name != "train"

        def note(self, message):
            notes.append(message)

        def trial(self, progress):
            raise AssertionError("trained again")

    again = train_target(recipe(), tmp_path, Listener(), resume=True)
    assert again == whole and "is finished" in notes[0]
    other = train_target(recipe(seed=3), tmp_path, SilentListener(), resume=True)
    assert other.summary.fingerprint != whole.summary.fingerprint
    (tmp_path / "model.safetensors").unlink()  # which is written last, so that this training was cut off
    assert train_target(recipe(seed=3), tmp_path, SilentListener(), resume=True).model.is_file()


def test_batch_normalisation_of_one_image_is_refused(tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), "
        "nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10))\n"
    )
    options = {"architecture": f"{tmp_path}/own.py:net", "optimiser": "sgd", "epochs": 4}
    with pytest.raises(ConfigError, match=r"two images or more in every batch .* found 20 images in batches of 19"):
        trained(tmp_path / "t", batch_size=19, **options)
    assert trained(tmp_path / "u", batch_size=10, **options).model.is_file()


def test_killed_at_a_random_moment_it_resumes_to_the_same_bytes(tmp_path):
    options = ["--data", "digits", "--images-per-class", "10", "--hidden", "300,300", "--optimiser", "adam",
               "--batch-size", "5", "--epochs", "150", "--tolerance", "0", "-q"]  # fmt: skip
    code = (
        "import sys, torch; torch.set_num_threads(1); import privaudit.study.loop as loop; "
        "loop._SECONDS_BETWEEN_SAVES = 0.0; from privaudit.cli import run; sys.exit(run(sys.argv[1:]))"
    )

    def command(out, *more):
        return [sys.executable, "-c", code, "train", *options, "--out", str(out), *more]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True, timeout=120)
    cut = subprocess.Popen(command(tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "cut" / STATE_FILE).exists():
        assert time.monotonic() < deadline and cut.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    cut.send_signal(signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL
    subprocess.run(command(tmp_path / "cut", "--resume"), check=True, capture_output=True, timeout=120)
    assert (tmp_path / "cut/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_a_random_moment_and_resume_end_with_the_same_bytes(number, tmp_path):
    """It lands inside a line search; the state that is kept must not."""
    options = ["--data", "digits", "--images-per-class", "20", "--hidden", "300,300", "--epochs", "400",
               "--tolerance", "0", "-q"]  # fmt: skip
    code = "import sys, torch; torch.set_num_threads(1); from privaudit.cli import run; sys.exit(run(sys.argv[1:]))"

    def command(out, *more):
        return [sys.executable, "-c", code, "train", *options, "--out", str(out), *more]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True, timeout=120)
    cut = subprocess.Popen(command(tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    log = tmp_path / "cut" / "training.jsonl"
    while not (log.exists() and len(log.read_text().splitlines()) >= 3):
        assert time.monotonic() < deadline and cut.poll() is None
        time.sleep(0.01)
    time.sleep(0.037)
    cut.send_signal(number)
    assert cut.wait(30) == 130
    assert not (tmp_path / "cut/model.safetensors").exists()
    subprocess.run(command(tmp_path / "cut", "--resume"), check=True, capture_output=True, timeout=120)
    assert (tmp_path / "cut/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_a_network_with_dropout_is_deterministic_too(tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), "
        "nn.Dropout(0.5), nn.Linear(20, 10))\n"
    )
    options = {"architecture": f"{tmp_path}/own.py:net", "optimiser": "sgd", "batch_size": 5, "epochs": 20}
    first, second = (trained(tmp_path / name, **options).model.read_bytes() for name in "ab")
    assert first == second


def test_a_state_of_other_settings_is_not_taken_up_and_a_damaged_one_is_refused(tmp_path):
    notes = []

    class Listener:
        def stage(self, name, message):
            pass

        def trial(self, progress):
            raise KeyboardInterrupt

        def note(self, message):
            notes.append(message)

    with pytest.raises(KeyboardInterrupt):
        train_target(recipe(), tmp_path, Listener())
    with pytest.raises(KeyboardInterrupt):
        train_target(recipe(seed=1), tmp_path, Listener(), resume=True)
    assert "no interrupted training with these settings" in notes[0]
    (tmp_path / STATE_FILE).write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(PrivauditError, match="found it damaged"):
        train_target(recipe(seed=1), tmp_path, SilentListener(), resume=True)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_trains_on_a_gpu_too(case, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    options = recipe(**CASES[case])
    target = train_target(options, tmp_path / "gpu", SilentListener(), device="cuda")
    on_cpu = train_target(options, tmp_path / "cpu", SilentListener(), device="cpu")
    assert target.summary.loss == pytest.approx(on_cpu.summary.loss, rel=1.0, abs=0.05)
    with safe_open(target.model, "pt") as file:
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
