"""The tidy table of a study: one line a cell, as CSV and, where pyarrow is installed, as Parquet.

In: a `StudyRecord`. Out: columns with a kind each, and files. Must not know how cells are run or drawn.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from privaudit.result_file import write_private
from privaudit.study.outcome import ScanCounts
from privaudit.study.record import CellRecord, StudyRecord, varied_in

CSV_FILE, PARQUET_FILE = "study.csv", "study.parquet"
NO_PARQUET = "no study.parquet: pyarrow is not installed; pip install privaudit[study]"

Kind = Literal["text", "whole", "number", "yes_no"]
Value = str | int | float | bool | None

_TRAINING: dict[str, Kind] = {
    "training_status": "text",
    "images": "whole",
    "outputs": "whole",
    "parameters": "whole",
    "trained_epochs": "whole",
    "train_loss": "number",
    "train_accuracy": "number",
    "held_out_accuracy": "number",
    "held_out_loss": "number",
    "residual": "number",
    "epsilon": "number",
    "delta": "number",
    "training_seconds": "number",
}
_TRAINING_FIELDS = {
    "training_status": "status",
    "trained_epochs": "epochs",
    "train_loss": "loss",
    "train_accuracy": "accuracy",
    "training_seconds": "seconds",
}
_COUNT_NAMES = {"seconds": "attack_seconds"}


@dataclass(frozen=True)
class Column:
    """A column. `values`: one a cell, None where nothing was measured."""

    name: str
    kind: Kind
    values: tuple[Value, ...]


def columns(record: StudyRecord) -> tuple[Column, ...]:
    """Where a cell belongs, every setting that varies, how training ended, every count."""
    cells = record.cells
    baselines = {row.name: row.baseline for row in record.rows}
    titles = {row.name: row.title for row in record.rows}
    found = [
        Column("row", "text", tuple(cell.row for cell in cells)),
        Column("row_title", "text", tuple(titles[cell.row] for cell in cells)),
        Column("point", "text", tuple(cell.point for cell in cells)),
        Column("is_baseline", "yes_no", tuple(cell.point == baselines[cell.row] for cell in cells)),
        Column("seed", "whole", tuple(cell.seed for cell in cells)),
        Column("status", "text", tuple(cell.status for cell in cells)),
        Column("reason", "text", tuple(cell.reason or None for cell in cells)),
        Column("digest", "text", tuple(cell.digest for cell in cells)),
    ]
    found += _settings(cells)
    found += [Column(name, kind, tuple(_trained(cell, name) for cell in cells)) for name, kind in _TRAINING.items()]
    found += _counts(cells)
    return (*found, Column("seconds", "number", tuple(cell.seconds for cell in cells)))


def _settings(cells: Sequence[CellRecord]) -> list[Column]:
    """Those that vary over the study; of the hidden layers also width and depth, as numbers."""
    found = [_column(name, [cell.fields.get(name) for cell in cells]) for name in varied_in([c.fields for c in cells])]
    if any(column.name == "hidden" for column in found):
        hidden = [cell.fields["hidden"] for cell in cells]
        found.append(Column("width", "whole", tuple(max(widths, default=0) for widths in hidden)))
        found.append(Column("depth", "whole", tuple(len(widths) for widths in hidden)))
    return found


def _column(name: str, values: Sequence[Any]) -> Column:
    """The narrowest kind that holds every value; lists become text such as 1000-1000."""
    flat = ["-".join(map(str, value)) if isinstance(value, list | tuple) else value for value in values]
    known = [value for value in flat if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return Column(name, "yes_no", tuple(flat))
    if known and all(isinstance(value, int) and not isinstance(value, bool) for value in known):
        return Column(name, "whole", tuple(flat))
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return Column(name, "number", tuple(None if value is None else float(value) for value in flat))
    return Column(name, "text", tuple(None if value is None else str(value) for value in flat))


def _trained(cell: CellRecord, name: str) -> Value:
    value: Value = None if cell.training is None else getattr(cell.training, _TRAINING_FIELDS.get(name, name))
    return value


def _counts(cells: Sequence[CellRecord]) -> list[Column]:
    found = []
    for name, field in ScanCounts.model_fields.items():
        if name == "ssim":  # a list; study.json has it
            continue
        values = tuple(None if cell.counts is None else getattr(cell.counts, name) for cell in cells)
        found.append(Column(_COUNT_NAMES.get(name, name), _kind(field.annotation), values))
    return found


def _kind(annotation: object) -> Kind:
    """Of a field of `ScanCounts`."""
    kinds: tuple[tuple[object, Kind], ...] = (
        (bool, "yes_no"),
        (int, "whole"),
        (int | None, "whole"),
        (float, "number"),
        (float | None, "number"),
    )
    return next((kind for known, kind in kinds if annotation == known), "text")


def csv_text(table: Sequence[Column]) -> str:
    """The table as CSV with one line of names; nothing between two commas where nothing was measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in table])
    for line in zip(*(column.values for column in table), strict=True):
        writer.writerow([_cell_text(value) for value in line])
    return stream.getvalue()


def _cell_text(value: Value) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def parquet_bytes(table: Sequence[Column]) -> bytes | None:
    """The table as Parquet; None where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    kinds: dict[Kind, Callable[[], Any]] = {
        "text": pyarrow.string,
        "whole": pyarrow.int64,
        "number": pyarrow.float64,
        "yes_no": pyarrow.bool_,
    }
    schema = pyarrow.schema([(column.name, kinds[column.kind]()) for column in table])
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table([list(column.values) for column in table], schema=schema), stream)
    return stream.getvalue()


def write_table(out: Path, record: StudyRecord) -> tuple[Path, ...]:
    """Write `study.csv`, and `study.parquet` if it can be; returns their paths.

    A Parquet file of an earlier run that cannot be replaced is removed: it would be another table.

    Raises:
        OutputError: the folder cannot be written.
    """
    table = columns(record)
    write_private(out / CSV_FILE, csv_text(table).encode())
    packed = parquet_bytes(table)
    if packed is None:
        (out / PARQUET_FILE).unlink(missing_ok=True)
        return (out / CSV_FILE,)
    write_private(out / PARQUET_FILE, packed)
    return (out / CSV_FILE, out / PARQUET_FILE)
