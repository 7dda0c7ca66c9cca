"""A study on one screen: what would run, and what came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from privaudit.cli.screen import Screen
from privaudit.cli.signs import Sign, shortened_middle

if TYPE_CHECKING:
    from privaudit.study.cells import Row
    from privaudit.study.record import StudyRecord

_PATH_LENGTH = 300


def list_screen(rows: "Sequence[Row]", states: dict[str, str]) -> None:
    """Cells that would run; `states` says of a digest whether it is done."""
    screen = Screen()
    cells = [(cell.row, cell.point, str(cell.seed), cell.digest, states[cell.digest]) for r in rows for cell in r.cells]
    screen.table(("row", "setting", "seed", "digest", "state"), cells, right=("seed",), whole=("digest",), n_titles=2)
    screen.gap()
    for row in rows:
        expected = "" if row.gpu_minutes is None else f", published size about {row.gpu_minutes:g} minutes on one GPU"
        screen.line(f"{row.name}: {len(row.cells)} cells{expected}", "dim")
    known = [row.gpu_minutes for row in rows if row.gpu_minutes is not None]
    total = f"; {sum(known):g} minutes on one GPU at the published size" if known else ""
    in_rows = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    screen.line(f"{len(cells)} cells in {in_rows}{total}; nothing was run", "bold")


def study_screen(record: "StudyRecord", files: Sequence[Path], code: int) -> None:
    """Points with their counts, what failed, the files, what it comes to last."""
    from privaudit.report import words
    from privaudit.study.wording import interval_words, separation_word

    screen = Screen()
    lines = [
        (
            row.name,
            point.label,
            "–" if point.pooled.rebuilt is None else words.of(point.pooled.rebuilt.found, point.pooled.rebuilt.total),
            interval_words(point.pooled.rebuilt),
            "–" if (accuracy := point.pooled.held_out_accuracy) is None else words.percent(accuracy.mean),
            separation_word(point.separation),
        )
        for row in record.rows
        for point in row.points
    ]
    screen.gap()
    titles = ("row", "setting", "rebuilt", "95 % interval", "accuracy", "differs")
    screen.table(titles, lines, right=("rebuilt", "accuracy"), whole=("row", "rebuilt", "95 % interval"), n_titles=2)
    failed = [cell for cell in record.cells if cell.status == "failed"]
    if failed:
        screen.gap()
    for cell in failed:
        screen.signed("failed", f"{cell.row}, {cell.point}, seed {cell.seed}: {cell.reason}", is_verdict=False)
    screen.gap()
    screen.files("wrote", [shortened_middle(path, _PATH_LENGTH) for path in files])
    done = sum(cell.status == "done" for cell in record.cells)
    sign: Sign = "passed" if done == len(record.cells) else "failed"
    screen.signed(sign, f"study: {done} of {len(record.cells)} cells done, exit {int(code)}")
