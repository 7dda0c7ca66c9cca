"""Pairs of training images and reconstructions of a row's cells.

In: a row of a study and the folder of its cells. Out: `PairSheet`s whose pictures are destroyed unless revealed. Reads
what scans wrote; must not know markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from privaudit.errors import PrivauditError
from privaudit.report import words
from privaudit.report.pictures import FILE_NAME, SHEET_COLUMNS, read_pictures, sheet_uri
from privaudit.result_evidence import EvidenceRecord
from privaudit.result_file import read_result
from privaudit.study.outcome import AUDIT_FOLDER
from privaudit.study.record import CellRecord, RowRecord, cell_folder
from privaudit.text import one_line

_PAIRS = 12
_PER_CLASS = 2
_ROWS_SHOWN = 3
"""Points of a row whose pairs are shown, so that a page with twenty rows stays a page."""


@dataclass(frozen=True)
class PairSheet:
    """One picture of many pairs: the rebuilt picture above its training image, best first."""

    title: str
    uri: str
    alt: str
    n_columns: int


def pair_sheets(row: RowRecord, cells: Sequence[CellRecord], out: Path, reveal: bool) -> tuple[PairSheet, ...]:
    """The baseline's pairs, those of the point of which most is rebuilt, and of the one of which least is.

    Args:
        row: of the study.
        cells: of that row.
        out: the study's folder; where it has no cells there are no sheets.
        reveal: show the pictures; otherwise their pixels are destroyed as in a report.
    """
    measured = [(point.pooled.rebuilt.share, point.label) for point in row.points if point.pooled.rebuilt is not None]
    if not measured:
        return ()
    labels = dict.fromkeys([row.baseline, max(measured)[1], min(measured)[1]])
    found = []
    for label in list(labels)[:_ROWS_SHOWN]:
        cell = next((cell for cell in cells if cell.point == label and cell.status == "done"), None)
        sheet = None if cell is None else _sheet(cell, out, reveal)
        found += [] if sheet is None else [sheet]
    return tuple(found)


def _sheet(cell: CellRecord, out: Path, reveal: bool) -> PairSheet | None:
    """None where the cell's scan is not there or cannot be read, which the table does not depend on."""
    folder = cell_folder(out, cell.digest) / AUDIT_FOLDER
    try:
        result = read_result(folder / "result.json")
        pictures = read_pictures(folder / FILE_NAME, result)
    except PrivauditError:
        return None
    if pictures is None or pictures.record_images is None or pictures.record_index is None or result.evidence is None:
        return None
    records = [(row, result.evidence.records[index]) for row, index in enumerate(pictures.record_index)]
    rebuilt = sorted((pair for pair in records if pair[1].reconstruction >= 0), key=lambda pair: -pair[1].ssim)
    if not rebuilt:
        return None
    n_classes = len({record.label for _, record in rebuilt})
    best = _of_each_class(rebuilt) if n_classes > 2 else rebuilt[:_PAIRS]
    n_shown = len({record.label for _, record in best})
    of = f"each of {n_classes}" if n_shown == n_classes else f"{n_shown} of {n_classes}"
    which = f"the closest of {of} classes" if n_classes > 2 else f"the {len(best)} closest"
    pairs = [(pictures.images[record.reconstruction], pictures.record_images[row]) for row, record in best]
    similarities = [record.ssim for _, record in best]
    scores = f"SSIM {max(similarities):.2f} to {min(similarities):.2f}"
    return PairSheet(
        title=f"{one_line(cell.point, 80)}, seed {cell.seed}: {which}, {scores}",
        uri=sheet_uri(pairs, reveal),
        alt=f"{words.images(len(best), 'pair')}, rebuilt picture above training image, {scores}"
        + ("" if reveal else " (blurred)"),
        n_columns=min(SHEET_COLUMNS, len(best)),
    )


def _of_each_class(rebuilt: Sequence[tuple[int, EvidenceRecord]]) -> list[tuple[int, EvidenceRecord]]:
    """`_PER_CLASS` pairs of each class side by side, as the papers print them; `rebuilt`: best first."""
    labels = sorted({record.label for _, record in rebuilt if record.label is not None})[: SHEET_COLUMNS // _PER_CLASS]
    return [pair for label in labels for pair in [p for p in rebuilt if p[1].label == label][:_PER_CLASS]]
