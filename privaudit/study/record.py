"""`study.json`: everything that the table, the figures and the page of a study are made from.

In: rows of cells and the folder where their outcomes lie. Out: a `StudyRecord`, sealed by nothing but its own schema.
It stands alone: the cells' folders are needed for pictures only. Imports no torch; must not know how cells are run.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from privaudit import __version__
from privaudit.errors import ResultError
from privaudit.result_file import write_private
from privaudit.study.cells import Cell, Row, without_folders
from privaudit.study.interface import TrainingSummary
from privaudit.study.outcome import CellOutcome, ScanCounts, StudyModel, read_outcome
from privaudit.study.pooling import Pooled, Separation, pooled, separation
from privaudit.text import one_line

RECORD_FILE = "study.json"
CELLS_FOLDER = "cells"
_SEEDS = ("seed", "data_seed", "scan.seed")

Size = Literal["small", "full", "only"]
"""Of a grid with a published size the small version or that one; `only`: it has one size."""


class CellRecord(StudyModel):
    """One cell of the table.

    Attributes:
        row: and `point`, where it belongs.
        digest: the name of its folder.
        fields: every setting of training by name, those of the scan as `scan.NAME`; files without their folders.
        training: how training ended, `counts` what the scan found; None where it did not get that far.
        seconds: of the cell; `started`, `machine` and `versions` as in `cell.json`.
    """

    row: str
    point: str
    seed: int
    digest: str
    status: Literal["done", "failed", "not_run"]
    reason: str
    fields: dict[str, Any]
    training: TrainingSummary | None = None
    counts: ScanCounts | None = None
    seconds: float | None = None
    started: str = ""
    machine: str = ""
    versions: dict[str, str] = {}


class PointRecord(StudyModel):
    """A point of a row: its seeds taken together. `fields`: what varies within the row, `named` in the file or not."""

    label: str
    named: bool
    fields: dict[str, Any]
    pooled: Pooled
    separation: Separation | None


class RowRecord(StudyModel):
    """A row. `varied`: names of the settings in which its points differ; `seeds` that were asked for."""

    name: str
    title: str
    shows: str
    published: str
    gpu_minutes: float | None
    baseline: str
    varied: tuple[str, ...]
    seeds: tuple[int, ...]
    points: tuple[PointRecord, ...]


class StudyRecord(StudyModel):
    """The whole of `study.json`. `size`: `small` or `full`, the published one, or `only`; `written` in UTC."""

    schema_version: Literal["1.0"] = "1.0"
    title: str
    size: Size
    command: str
    version: str
    written: str
    rows: tuple[RowRecord, ...]
    cells: tuple[CellRecord, ...]

    def cells_at(self, row: str, point: str) -> tuple[CellRecord, ...]:
        """Cells of one point, a seed each."""
        return tuple(cell for cell in self.cells if cell.row == row and cell.point == point)


def cell_folder(out: Path, digest: str) -> Path:
    """Where a cell lies: under its digest alone, so that two rows that need the same network share it."""
    return out / CELLS_FOLDER / digest


def record_of(rows: Sequence[Row], out: Path, title: str, size: Size, command: str) -> StudyRecord:
    """What is there of a study now, also in the middle of it."""
    cells = {row.name: [(cell, _outcome(cell, out)) for cell in row.cells] for row in rows}
    return StudyRecord(
        title=title,
        size=size,
        command=command,
        version=__version__,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=tuple(_row(row, cells[row.name]) for row in rows),
        cells=tuple(_cell(cell, outcome) for row in rows for cell, outcome in cells[row.name]),
    )


def write_record(path: Path, record: StudyRecord) -> None:
    """Write it whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    text = json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False)
    write_private(path, f"{text}\n".encode())


def read_record(path: Path) -> StudyRecord:
    """Read and check a `study.json`.

    Raises:
        ResultError: missing, no JSON, or not what this version writes.
    """
    try:
        return StudyRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ResultError(f"expected a {RECORD_FILE} at {path}, found no such file; run the study first") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultError(
            f"expected a valid field {where} in {path}, found: {first['msg']}; run the study again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"expected JSON in {path}, found: {one_line(error)}; run the study again") from None


def fields_of(cell: Cell) -> dict[str, Any]:
    """Every setting by name, as JSON."""
    train = cell.recipe.model_dump(mode="json")
    scan = {f"scan.{name}": value for name, value in cell.scan.items()}
    code = {name: without_folders(train[name]) for name in ("architecture", "loss")}
    if isinstance(scan.get("scan.adapter"), str):
        code["scan.adapter"] = without_folders(scan["scan.adapter"])
    return {**train, **scan, **code, "data": cell.source}


def varied_in(cells: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the settings in which these differ, seeds left out."""
    names = dict.fromkeys(name for fields in cells for name in fields)
    return tuple(
        name for name in names if name not in _SEEDS and len({json.dumps(fields.get(name)) for fields in cells}) > 1
    )


def _outcome(cell: Cell, out: Path) -> CellOutcome | None:
    return read_outcome(cell_folder(out, cell.digest), cell.digest)


def _cell(cell: Cell, outcome: CellOutcome | None) -> CellRecord:
    where: dict[str, Any] = {
        "row": cell.row,
        "point": cell.point,
        "seed": cell.seed,
        "digest": cell.digest,
        "fields": fields_of(cell),
    }
    if outcome is None:
        return CellRecord(**where, status="not_run", reason="")
    names = ("status", "reason", "training", "counts", "seconds", "started", "machine", "versions")
    return CellRecord(**where, **{name: getattr(outcome, name) for name in names})


def _row(row: Row, cells: Sequence[tuple[Cell, CellOutcome | None]]) -> RowRecord:
    varied = varied_in([fields_of(cell) for cell, _ in cells])
    points: dict[str, list[tuple[Cell, CellOutcome | None]]] = {}
    for cell, outcome in cells:
        points.setdefault(cell.point, []).append((cell, outcome))
    together = {label: pooled([(cell.seed, outcome) for cell, outcome in some]) for label, some in points.items()}
    base = together[row.baseline].rebuilt
    records = []
    for label, some in points.items():
        first = some[0][0]
        fields = fields_of(first)
        is_base = label == row.baseline
        compared = None if is_base else separation(together[label].rebuilt, base, row.baseline)
        records.append(
            PointRecord(
                label=label,
                named=first.is_named,
                fields={name: fields.get(name) for name in varied},
                pooled=together[label],
                separation=compared,
            )
        )
    return RowRecord(
        name=row.name,
        title=row.title,
        shows=row.shows,
        published=row.published,
        gpu_minutes=row.gpu_minutes,
        baseline=row.baseline,
        varied=varied,
        seeds=tuple(dict.fromkeys(cell.seed for cell, _ in cells)),
        points=tuple(records),
    )
