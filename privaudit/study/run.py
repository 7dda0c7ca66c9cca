"""Running a study: cells that are not done go to an engine, each outcome is on disk before the next one counts.

In: rows of cells, a folder, an engine. Out: folders of cells with `cell.json`; whether it was interrupted. Must not
know how a cell is computed, nor tables or pages.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from privaudit.engines.interface import AbstractEngine, Job, JobEnd
from privaudit.study.cell import CellJob, write_job
from privaudit.study.cells import Cell, Row, cells_of
from privaudit.study.outcome import CELL_FILE, CellOutcome, read_outcome, write_outcome
from privaudit.study.record import cell_folder
from privaudit.study.resources import Places, memory_of

CELL_MODULE = "privaudit.study.cell"
LOG_FILE = "log.txt"


@dataclass(frozen=True)
class StudyProgress:
    """Where a study is. `done`: of `total` cells, with those skipped; `seconds_left` an estimate, None before one."""

    done: int
    total: int
    failed: int
    seconds_left: float | None


class StudyListener(Protocol):
    """Hears how a study goes on; must return quickly and must not raise."""

    def planned(self, total: int, done: int, places: Places) -> None:
        """`total` cells, of which `done` were done before."""

    def begun(self, cell: Cell) -> None:
        """A cell began."""

    def ended(self, cell: Cell, outcome: CellOutcome, progress: StudyProgress) -> None:
        """A cell ended, done or failed."""


def unique_cells(rows: Sequence[Row]) -> tuple[Cell, ...]:
    """Each network once, however many rows need it."""
    return tuple({cell.digest: cell for cell in reversed(list(cells_of(rows)))}.values())[::-1]


def with_earlier_rows(chosen: Sequence[Row], every: Sequence[Row], out: Path) -> tuple[Row, ...]:
    """The chosen rows and those that an earlier run left something of: a page must not lose them."""
    names = {row.name for row in chosen}
    return tuple(
        row
        for row in every
        if row.name in names or any(read_outcome(cell_folder(out, cell.digest), cell.digest) for cell in row.cells)
    )


def pending_cells(rows: Sequence[Row], out: Path) -> tuple[Cell, ...]:
    """Cells that are to be run: those that failed before are tried again."""
    return tuple(cell for cell in unique_cells(rows) if not _is_done(cell, out))


def _is_done(cell: Cell, out: Path) -> bool:
    outcome = read_outcome(cell_folder(out, cell.digest), cell.digest)
    return outcome is not None and outcome.status == "done"


def run_cells(
    rows: Sequence[Row],
    out: Path,
    places: Places,
    engine_for: Callable[[int], AbstractEngine],
    listener: StudyListener,
    module: str = CELL_MODULE,
) -> bool:
    """Run every cell that is not done.

    Args:
        rows: of the study.
        out: folder of the study.
        places: how many at a time, with how many threads.
        engine_for: an engine for that many at a time.
        listener: told how it goes on.
        module: what runs a cell from its folder.

    Returns:
        Whether it was interrupted.

    Raises:
        OutputError: the folder cannot be written.
    """
    every, pending = unique_cells(rows), pending_cells(rows, out)
    listener.planned(len(every), len(every) - len(pending), places)
    jobs = [_prepared(cell, out, places.threads, module) for cell in pending]
    cells = {job.name: cell for job, cell in zip(jobs, pending, strict=True)}
    seconds: list[float] = []
    failed = 0

    def on_end(end: JobEnd) -> None:
        nonlocal failed
        if end.status == "interrupted":
            return
        cell = cells[end.job.name]
        outcome = _settled(cell, end, out)
        failed += outcome.status == "failed"
        seconds.append(end.seconds)
        left = len(pending) - len(seconds)
        mean = sum(seconds) / len(seconds)
        listener.ended(
            cell,
            outcome,
            StudyProgress(len(every) - left, len(every), failed, left * mean / min(places.n_parallel, max(1, left))),
        )

    def on_start(job: Job) -> None:
        # Only now: what failed before stays to be seen as long as it has not been tried again.
        (cell_folder(out, job.name) / CELL_FILE).unlink(missing_ok=True)
        listener.begun(cells[job.name])

    engine = engine_for(places.n_parallel)
    ends = engine.run(jobs, on_start, on_end)
    return any(end.status == "interrupted" for end in ends)


def _prepared(cell: Cell, out: Path, threads: int, module: str) -> Job:
    """The job of a cell, its `job.json` written."""
    folder = cell_folder(out, cell.digest)
    write_job(folder, CellJob(digest=cell.digest, recipe=cell.recipe, scan=dict(cell.scan), threads=threads))
    return Job(cell.digest, module, (str(folder),), folder / LOG_FILE, threads, memory_of(cell.recipe))


def _settled(cell: Cell, end: JobEnd, out: Path) -> CellOutcome:
    """What a cell wrote; for one that died before it could write, its death."""
    folder = cell_folder(out, cell.digest)
    outcome = read_outcome(folder, cell.digest)
    if outcome is not None:
        return outcome
    outcome = CellOutcome(
        digest=cell.digest,
        status="failed",
        reason=end.reason or "ended without a whole cell.json",
        recipe=cell.recipe,
        scan=dict(cell.scan),
        seconds=round(end.seconds, 1),
        machine=f"{platform.system()} {platform.machine()}",
    )
    write_outcome(folder, outcome)
    return outcome
