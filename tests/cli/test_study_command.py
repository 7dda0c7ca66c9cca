"""`privaudit study`: exit codes, streams, refusals; cells run as processes, with or without a stand-in."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

from study_cases import WORKER

from privaudit.cli import run
from privaudit.study import run as study_run
from privaudit.study.outcome import read_outcome

GRID = """
title = "Decay"
seeds = [0]
[data]
images = "digits"
[train]
data = "$images"
classes = 2
images_per_class = 3
hidden = [30]
[scan]
budget = "quick"
time_limit_s = 2
instrument_check = false
[grid]
weight_decay = [1e-2, 1e-3]
"""


@pytest.fixture
def grid(in_folder: Path) -> Path:
    path = in_folder / "grid.toml"
    path.write_text(GRID)
    return path


@pytest.fixture
def stand_in(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells neither train nor scan; STUDY_TEST_PLAN says how they end."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "cell_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    monkeypatch.setattr(study_run.run_cells, "__defaults__", ("cell_worker",))


def test_done_is_zero_and_stdout_is_the_page(grid: Path, stand_in: None, capsys: pytest.CaptureFixture[str]):
    assert run(["study", "grid.toml", "--out", "o", "--no-progress", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "o/study.html\n"
    assert "study: 2 cells, 1 at a time" in captured.err
    assert "[2/2] study, weight decay 0.001, seed 0: 5 of 20 rebuilt" in captured.err
    assert "study: 2 of 2 cells done, exit 0" in captured.err
    assert {path.name for path in Path("o").iterdir()} >= {"study.html", "study.json", "study.csv", "study.parquet"}
    assert run(["study", "grid.toml", "--out", "o", "-q", "--jobs", "1"]) == 0
    assert capsys.readouterr().err == ""
    assert len(Path("o/runs.txt").read_text().splitlines()) == 2, "what was done is skipped"


def test_a_failed_cell_is_two_after_everything_was_written(
    grid: Path, stand_in: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STUDY_TEST_PLAN", "die")
    assert run(["study", "grid.toml", "--out", "o", "-q", "--jobs", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "o/study.html\n"
    (line,) = captured.err.splitlines()
    assert "1 of 2 failed" in line
    assert "killed by signal 9 (SIGKILL), which the system sends when memory runs out" in line
    with Path("o/study.csv").open(newline="") as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["failed", "done"]
    assert "killed by signal 9" in Path("o/study.html").read_text()


def test_json_is_the_record(grid: Path, stand_in: None, capsys: pytest.CaptureFixture[str]):
    assert run(["study", "grid.toml", "--out", "o", "--json", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["title"] == "Decay"
    assert json.loads(captured.out) == json.loads(Path("o/study.json").read_text())


def test_render_runs_nothing(grid: Path, stand_in: None, capsys: pytest.CaptureFixture[str]):
    assert run(["study", "--render", "--out", "o"]) == 2
    assert "run the study first" in capsys.readouterr().err
    assert run(["study", "grid.toml", "--render", "--out", "o", "-q"]) == 0
    assert "2 not run" in Path("o/study.html").read_text()
    assert run(["study", "grid.toml", "--out", "o", "-q", "--jobs", "1"]) == 0
    page = Path("o/study.html").read_text()
    Path("o/study.html").unlink()
    Path("o/study.csv").unlink()
    assert run(["study", "--render", "--out", "o", "-q"]) == 0
    assert Path("o/study.html").read_text() == page
    assert Path("o/study.csv").exists()
    assert len(Path("o/runs.txt").read_text().splitlines()) == 2


def test_list_runs_nothing(grid: Path, in_folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["study", "grid.toml", "--list"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "weight decay 0.001" in captured.err
    assert "2 cells in 1 row; nothing was run" in captured.err
    assert run(["study", "--paper", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sum(len(row["cells"]) for row in rows) > 20
    assert all(row["gpu_minutes"] for row in rows)
    assert {cell["state"] for row in rows for cell in row["cells"]} == {"to run"}
    assert not (in_folder / "study").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected GRID.toml or --paper, found neither"),
        (["grid.toml", "--paper"], "found both"),
        (["none.toml"], "expected a grid file at none.toml"),
        (["grid.toml", "--row", "x"], "expected --row as one of study"),
        (["grid.toml", "--data", "images"], "expected --data as NAME=SOURCE"),
        (["grid.toml", "--data", "other=digits"], "which has images, found 'other'"),
        (["grid.toml", "--data", "images=missing.npz"], "expected a file or folder at missing.npz"),
        (["grid.toml", "--seeds", "0,0"], "expected --seeds as different whole numbers"),
        (["grid.toml", "--seeds", "a"], "expected --seeds as different whole numbers"),
        (["grid.toml", "--jobs", "0"], "expected --jobs as auto or a number"),
        (["--render", "--seeds", "1"], "found --render alone"),
    ],
)
def test_refusals(grid: Path, in_folder: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert run(["study", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert words in line
    assert not (in_folder / "study" / "cells").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_130_with_a_page(grid: Path, in_folder: Path, number: signal.Signals):
    """The real cell is interrupted in training or before it; what is there is written."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "privaudit", "study", "grid.toml", "--out", "o", "--jobs", "1"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=in_folder,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(in_folder.glob("o/cells/*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert out == "o/study.html\n"
    assert "2 not run" in (in_folder / "o/study.html").read_text()


@pytest.mark.slow
def test_a_real_study_from_training_to_page(grid: Path, run_process, in_folder: Path):
    """No stand-in: a network of digits is trained and scanned in its process."""
    text = GRID.replace("[1e-2, 1e-3]", "[1e-2]")
    grid.write_text(text)
    completed = run_process("study", "grid.toml", "--out", "o", "--data", "images=digits", OMP_NUM_THREADS="1")
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == "o/study.html\n"
    document = json.loads((in_folder / "o/study.json").read_text())
    (cell,) = document["cells"]
    assert cell["counts"]["members"] == 6
    assert cell["counts"]["controls"] > 100
    assert cell["training"]["held_out_accuracy"] > 0.5
    outcome = read_outcome(in_folder / "o/cells" / cell["digest"], cell["digest"])
    assert outcome is not None
    assert outcome.status == "done"
    assert cell["fields"]["data"] == "images"
    folder = in_folder / "o/cells" / cell["digest"]
    assert (folder / "target/model.safetensors").exists()
    assert (folder / "audit/result.json").exists()
    assert "<img" in (in_folder / "o/study.html").read_text()
