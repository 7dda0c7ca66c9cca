"""`privaudit train` as a user types it."""

import json
import tomllib

import pytest

from privaudit.cli import run
from privaudit.planted import one_thread

SMALL = ["train", "--data", "digits", "--images-per-class", "1", "--hidden", "30,30", "--epochs", "100"]


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


def test_says_how_it_ended_and_what_to_do_next(tmp_path, capsys):
    assert run([*SMALL, "--out", str(tmp_path / "t")]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/t/model.safetensors\n"
    assert "trained 3,150 parameters on 10 images in " in said.err
    assert "accuracy 100% on them" in said.err
    assert f"next: privaudit scan {tmp_path}/t/model.safetensors\n" in said.err


def test_json_on_stdout_and_nothing_else(tmp_path, capsys):
    assert run([*SMALL, "--json", "--out", str(tmp_path / "t")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((tmp_path / "t" / "training.json").read_text())
    assert said.err == ""


def test_a_file_of_settings_and_options_before_it(tmp_path, capsys):
    (tmp_path / "a.toml").write_text('data = "digits"\nimages_per_class = 1\nhidden = [30]\nepochs = 40\nseed = 5\n')
    assert run(["train", str(tmp_path / "a.toml"), "--seed", "7", "-q", "--out", str(tmp_path / "t")]) == 0
    written = tomllib.loads((tmp_path / "t" / "train.toml").read_text())
    assert written.items() >= {"data": "digits", "images_per_class": 1, "hidden": [30], "epochs": 40, "seed": 7}.items()
    assert written["weight_decay"] == 1e-3  # defaults too, which another version may have others of
    again = ["train", str(tmp_path / "t" / "train.toml"), "-q", "--out", str(tmp_path / "u")]
    assert run(again) == 0
    assert (tmp_path / "u/model.safetensors").read_bytes() == (tmp_path / "t/model.safetensors").read_bytes()


def test_paths_in_a_file_are_relative_to_it(tmp_path, capsys, monkeypatch):
    import numpy as np

    (tmp_path / "sub").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "sub" / "x.npz", images=images, labels=np.arange(12) % 3)
    (tmp_path / "sub" / "a.toml").write_text('data = "x.npz"\nimages_per_class = 1\nhidden = [9]\nepochs = 20\n')
    monkeypatch.chdir(tmp_path)
    assert run(["train", "sub/a.toml", "-q"]) == 0
    assert (tmp_path / "target" / "model.safetensors").is_file()
    assert tomllib.loads((tmp_path / "target" / "train.toml").read_text())["data"] == f"{tmp_path}/sub/x.npz"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "hinge"], "expected --loss as one of"),
        (["--weight-decay", "much"], "for weight_decay in command line, found 'much'"),
        (["nowhere.toml"], "expected TOML in nowhere.toml"),
        (["--data", "nowhere.npz"], "found no such file"),
        (["--data", "digits", "--images-per-class", "5000"], "more than 5000 images of every class"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path, capsys):
    assert run(["train", *arguments, "--out", str(tmp_path / "t")]) == 2
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith(("privaudit:", "error"))]
    assert message in line
    assert said.out == ""
    assert not (tmp_path / "t").exists()


def test_own_code_is_named_before_it_runs(tmp_path, capsys):
    (tmp_path / "own.py").write_text("def loss(o, t):\n    return ((o[:, 0] - t) ** 4).mean()\n")
    source = f"{tmp_path}/own.py:loss"
    assert run([*SMALL, "--labels", "two_groups", "--loss", source, "--out", str(tmp_path / "t")]) == 0
    assert f"running code from {source}" in capsys.readouterr().err
