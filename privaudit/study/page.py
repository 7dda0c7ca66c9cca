"""`study.html`: everything of a study on one offline page in the report's style.

In: a `StudyRecord` and, for pictures alone, the folder of its cells. Out: HTML. Must not know torch or how cells are
run.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import privaudit
from privaudit.report import words
from privaudit.report.chart import Chart
from privaudit.report.environment import render_study
from privaudit.result_file import write_private
from privaudit.study.curves import ssim_chart
from privaudit.study.figures import effect_chart
from privaudit.study.pareto import pareto_charts
from privaudit.study.pooling import Share
from privaudit.study.record import RECORD_FILE, CellRecord, PointRecord, RowRecord, StudyRecord, write_record
from privaudit.study.sheets import PairSheet, pair_sheets
from privaudit.study.table import write_table
from privaudit.study.wording import (
    counts_words,
    interval_words,
    number_words,
    range_words,
    separation_words,
    tally_words,
)

PAGE_FILE = "study.html"

OVERVIEW_COLUMNS = (
    "Setting",
    "Rebuilt, calibrated threshold",
    "SSIM above 0.4",
    "Membership readable",
    "Held-out accuracy",
    "Taken for",
    "Verdict",
    "Time a cell",
    "Seeds",
)
POINT_COLUMNS = (
    "Setting",
    "Rebuilt",
    "95 % interval",
    "Seed by seed",
    "Against the baseline",
    "Median SSIM",
    "Held-out accuracy",
    "Seeds",
)


@dataclass(frozen=True)
class RowView:
    """A row as the page shows it."""

    record: RowRecord
    points: tuple[tuple[str, ...], ...]
    charts: tuple[Chart, ...]
    sheets: tuple[PairSheet, ...]
    summary: str


def write_study(out: Path, record: StudyRecord, reveal: bool) -> tuple[Path, ...]:
    """Write `study.html`, `study.json` and the table; returns their paths, the page first.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_record(out / RECORD_FILE, record)
    tables = write_table(out, record)
    write_private(out / PAGE_FILE, page_html(record, out, reveal).encode("utf-8"))
    return (out / PAGE_FILE, out / RECORD_FILE, *tables)


def page_html(record: StudyRecord, out: Path, reveal: bool) -> str:
    """The page as text."""
    rows = [_row_view(row, [cell for cell in record.cells if cell.row == row.name], out, reveal) for row in record.rows]
    distinct = {cell.digest: cell for cell in record.cells}  # rows share networks
    states = Counter(cell.status for cell in distinct.values())
    return render_study(
        record=record,
        rows=rows,
        overview=[(row.name, *_overview(point)) for row in record.rows for point in row.points],
        overview_columns=OVERVIEW_COLUMNS,
        columns=POINT_COLUMNS,
        pareto=pareto_charts(record),
        failed=[cell for cell in record.cells if cell.status == "failed"],
        networks=len(distinct),
        states=states,
        reveal=reveal,
        words=words,
        version=privaudit.__version__,
        machines=_distinct(cell.machine for cell in record.cells),
        versions=_versions(record.cells),
        limits=limits(record),
    )  # fmt: skip


def _row_view(row: RowRecord, cells: Sequence[CellRecord], out: Path, reveal: bool) -> RowView:
    return RowView(
        record=row,
        points=tuple(_point(point) for point in row.points),
        charts=(effect_chart(row), ssim_chart(row, cells)),
        sheets=pair_sheets(row, cells, out, reveal),
        summary=summary(row),
    )


def _overview(point: PointRecord) -> tuple[str, ...]:
    """Cells of the table in the order of `OVERVIEW_COLUMNS`."""
    one = point.pooled
    interval = "" if one.rebuilt is None else f"; interval {interval_words(one.rebuilt)}"
    why = f"; {one.uncalibrated}" if one.uncalibrated else ""
    return (
        point.label,
        f"{counts_words(one.rebuilt)}{interval}{_controls(one.rebuilt_controls)}{why}",
        f"{counts_words(one.published)}{_controls(one.published_controls)}",
        words.NOT_APPLICABLE
        if one.readable is None and one.seeds
        else f"{counts_words(one.readable)}{_controls(one.readable_controls)}",
        range_words(one.held_out_accuracy),
        tally_words(one.modes) if one.modes else words.NOT_RUN,
        tally_words(one.verdicts) if one.verdicts else words.NOT_RUN,
        words.NOT_RUN if one.seconds is None else words.duration(one.seconds.mean),
        _seeds(point),
    )


def _controls(share: Share | None) -> str:
    return "" if share is None else f"; controls {words.of(share.found, share.total)}"


def _seeds(point: PointRecord) -> str:
    one = point.pooled
    return (", ".join(map(str, one.seeds)) or "none done") + _missing(one.failed, one.not_run)


def _point(point: PointRecord) -> tuple[str, ...]:
    """Cells of the table in the order of `POINT_COLUMNS`."""
    one = point.pooled
    return (
        point.label,
        counts_words(one.rebuilt),
        interval_words(one.rebuilt),
        words.NOT_MEASURED if one.rebuilt is None else ", ".join(map(words.percent, one.rebuilt.by_seed)),
        separation_words(point.separation),
        number_words(one.ssim_median),
        range_words(one.held_out_accuracy),
        _seeds(point),
    )


def _missing(n_failed: int, n_not_run: int) -> str:
    parts = [f"{n} {name}" for n, name in ((n_failed, "failed"), (n_not_run, words.NOT_RUN)) if n]
    return f" ({', '.join(parts)})" if parts else ""


def summary(row: RowRecord) -> str:
    """What a row comes to, in one sentence; claims a difference only where it is separated."""
    told = [point for point in row.points if point.separation is not None and point.separation.status == "separated"]
    if len(row.points) == 1:
        one = row.points[0].pooled
        return f"Rebuilt at the calibrated threshold: {counts_words(one.rebuilt)}."
    compared = [point.separation for point in row.points if point.separation is not None]
    if told:
        named = "; ".join(f"{point.label} {point.separation.direction}" for point in told if point.separation)
        return f"Separated from the baseline ({row.baseline}) in the share rebuilt: {named}."
    if all(found.status == "not_measured" for found in compared):
        return f"Nothing was measured that could be compared with the baseline ({row.baseline})."
    if not any(found.status == "not_separated" for found in compared):
        return f"Fewer than three seeds, so nothing is said about differences from the baseline ({row.baseline})."
    return f"None of the other settings is separated from the baseline ({row.baseline}) in the share rebuilt."


def limits(record: StudyRecord) -> tuple[str, ...]:
    """What the study does not show."""
    data = sorted({str(cell.fields["data"]).removeprefix("torchvision:") for cell in record.cells})
    seeds = sorted({len(row.seeds) for row in record.rows})
    said = [
        f"Data: {', '.join(data)}. What holds for them need not hold for other images.",
        f"Seeds a setting: {' or '.join(map(str, seeds))}. {_drawn(record)}",
        "Intervals are of counts pooled over seeds; they take images for independent of each other. Two settings are "
        "called separated only if, besides, every seed of one lies above every seed of the other.",
        "Less rebuilt under a setting means less rebuilt by this attack; another one may do better.",
        "Several settings are compared with one baseline without a correction for how many there are.",
    ]
    if record.size == "small":
        said.insert(
            0, "This is the small version of its grid: where one states a larger or a published size, --full runs it."
        )
    return tuple(said)


def _drawn(record: StudyRecord) -> str:
    """What a seed decides; a grid may hold the choice of images fixed."""
    own = "initial weights and the attack's own choices"
    if any(cell.fields["data_seed"] != cell.fields["seed"] for cell in record.cells):
        return f"A seed draws {own} anew; where data_seed is set, training images stay the same ones."
    return f"A seed draws training images, {own} anew, so members of two seeds overlap where the data are few."


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _versions(cells: Sequence[CellRecord]) -> dict[str, str]:
    """Package to version, several where cells ran under several."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        for name, version in cell.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in found.items()}
