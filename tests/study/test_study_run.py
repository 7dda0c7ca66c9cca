"""Running a study: skips, second attempts, deaths, half-written outcomes, interruptions. Cells are real processes."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from study_cases import GRID, done, rows

from privaudit.engines.local import LocalEngine
from privaudit.study.cells import Cell, cells_of
from privaudit.study.outcome import CELL_FILE, CellOutcome, read_outcome, write_outcome
from privaudit.study.record import cell_folder, record_of
from privaudit.study.resources import Places
from privaudit.study.run import StudyProgress, pending_cells, run_cells, unique_cells, with_earlier_rows

TWO = 'seeds = [0]\n[train]\ndata = "digits"\nhidden = [30]\n[grid]\nweight_decay = [1e-2, 1e-3]\n'


class Told:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.plan: tuple[int, int] = (0, 0)
        self.begun_cells: list[str] = []
        self.ends: list[tuple[str, str, StudyProgress]] = []

    def planned(self, total: int, done: int, places: Places) -> None:
        self.plan = (total, done)

    def begun(self, cell: Cell) -> None:
        self.begun_cells.append(cell.point)

    def ended(self, cell: Cell, outcome: CellOutcome, progress: StudyProgress) -> None:
        self.ends.append((cell.point, outcome.status, progress))


def run(out: Path, worker: str, text: str = TWO, n_parallel: int = 1, threads: int = 1) -> tuple[bool, Told]:
    told = Told()
    is_interrupted = run_cells(rows(text), out, Places(n_parallel, threads, ""), LocalEngine, told, worker)
    return is_interrupted, told


def runs(out: Path) -> list[str]:
    """Digest and threads of every cell that was run, in order."""
    path = out / "cells" / ".." / "runs.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_cells_are_run_stored_and_skipped(tmp_path: Path, worker: str):
    is_interrupted, told = run(tmp_path, worker, threads=2)
    cells = rows(TWO)[0].cells
    assert not is_interrupted
    assert told.plan == (2, 0)
    assert told.begun_cells == ["weight decay 0.01", "weight decay 0.001"]
    assert [(point, status, p.done, p.total, p.failed) for point, status, p in told.ends] == [
        ("weight decay 0.01", "done", 1, 2, 0),
        ("weight decay 0.001", "done", 2, 2, 0),
    ]
    assert told.ends[0][2].seconds_left is not None
    assert told.ends[1][2].seconds_left == 0
    assert runs(tmp_path) == [f"{cell.digest} 2" for cell in cells]
    assert pending_cells(rows(TWO), tmp_path) == ()
    _, again = run(tmp_path, worker)
    assert again.plan == (2, 2)
    assert again.ends == []
    assert len(runs(tmp_path)) == 2
    more = TWO.replace("[1e-2, 1e-3]", "[1e-2, 1e-3, 1e-4]")
    _, third = run(tmp_path, worker, more)
    assert third.plan == (3, 2)
    assert [point for point, *_ in third.ends] == ["weight decay 0.0001"]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ("die", "killed by signal 9 (SIGKILL), which the system sends when memory runs out"),
        ("half", "ended without a whole cell.json"),
        ("refuse", "expected this, found that"),
    ],
)
def test_a_failed_cell_is_told_with_its_reason_and_tried_again(
    tmp_path: Path, worker: str, plan: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STUDY_TEST_PLAN", plan)
    is_interrupted, told = run(tmp_path, worker)
    assert not is_interrupted
    assert [(point, status) for point, status, _ in told.ends] == [
        ("weight decay 0.01", "failed"),
        ("weight decay 0.001", "done"),
    ]
    assert told.ends[1][2].failed == 1
    record = record_of(rows(TWO), tmp_path, "T", "small", "")
    assert [(cell.status, cell.reason) for cell in record.cells] == [("failed", reason), ("done", "")]
    assert record.rows[0].points[0].pooled.failed == 1
    monkeypatch.delenv("STUDY_TEST_PLAN")
    _, again = run(tmp_path, worker)
    assert again.plan == (2, 1)
    assert [(point, status) for point, status, _ in again.ends] == [("weight decay 0.01", "done")]
    assert [cell.status for cell in record_of(rows(TWO), tmp_path, "T", "small", "").cells] == ["done", "done"]


def test_what_failed_stays_to_be_seen_until_it_is_tried_again(
    tmp_path: Path, worker: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STUDY_TEST_PLAN", "die")
    run(tmp_path, worker)
    (folder,) = [path.parent for path in tmp_path.glob("cells/*/cell.json") if '"failed"' in path.read_text()]

    class Broken(LocalEngine):
        """Starts nothing."""

        def run(self, jobs, on_start, on_end):
            raise RuntimeError("no process")

    with pytest.raises(RuntimeError):
        run_cells(rows(TWO), tmp_path, Places(1, 1, ""), Broken, Told(), worker)
    assert (folder / CELL_FILE).is_file()


def test_rows_of_an_earlier_run_are_kept(tmp_path: Path):
    every = rows()
    assert [row.name for row in with_earlier_rows(every[1:], every, tmp_path)] == ["losses"]
    cell = every[0].cells[0]
    write_outcome(cell_folder(tmp_path, cell.digest), done(cell))
    assert [row.name for row in with_earlier_rows(every[1:], every, tmp_path)] == ["decay", "losses"]


def test_an_interruption_leaves_no_outcome(tmp_path: Path, worker: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDY_TEST_PLAN", "wait")

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not runs(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    is_interrupted, told = run(tmp_path, worker)
    thread.join()
    assert is_interrupted
    assert told.ends == []
    assert [cell.status for cell in record_of(rows(TWO), tmp_path, "T", "small", "").cells] == ["not_run", "not_run"]


@pytest.mark.parametrize("cut", [0, 1, 40, 400])
def test_a_half_written_outcome_is_none(tmp_path: Path, cut: int):
    cell = rows(TWO)[0].cells[0]
    write_outcome(tmp_path, done(cell))
    assert read_outcome(tmp_path, cell.digest) == done(cell)
    assert read_outcome(tmp_path, "0" * 16) is None
    whole = (tmp_path / CELL_FILE).read_bytes()
    (tmp_path / CELL_FILE).write_bytes(whole[:cut])
    assert read_outcome(tmp_path, cell.digest) is None


def test_an_outcome_that_is_done_without_counts_is_none(tmp_path: Path):
    cell = rows(TWO)[0].cells[0]
    write_outcome(tmp_path, done(cell, counts=None))
    assert read_outcome(tmp_path, cell.digest) is None


def test_two_rows_share_a_network(tmp_path: Path, worker: str):
    table = '[[row]]\nname = "{}"\nseeds = [0]\n[row.train]\ndata = "digits"\n'
    text = table.format("a") + table.format("b")
    assert len(list(cells_of(rows(text)))) == 2
    assert len(unique_cells(rows(text))) == 1
    _, told = run(tmp_path, worker, text)
    assert told.plan == (1, 0)
    assert [cell.status for cell in record_of(rows(text), tmp_path, "T", "small", "").cells] == ["done", "done"]


def test_a_cell_ends_with_its_study(tmp_path: Path):
    """The process that started a cell is killed: the cell's own process must not go on."""
    script = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import sys, time
from privaudit.study.cell import _end_with_parent
_end_with_parent()
print("up", flush=True)
time.sleep(120)
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    import subprocess

    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_small_grid_of_the_tests_is_whole():
    assert len(unique_cells(rows(GRID))) == 14
    assert cell_folder(Path("out"), "a") == Path("out/cells/a")
