"""The statistics of the membership test as rows of a table.

In: `Membership` of a result. Out: rows of text. Must not know markup, pictures or files.
"""

from dataclasses import dataclass

from privaudit.report import words
from privaudit.result import CalibratedThreshold, Membership, OperatingPoint


@dataclass(frozen=True)
class PartRow:
    """One statistic, or the combination: area under the curve, and what it finds at each rate."""

    name: str
    auc: str
    found: tuple[str, ...]


@dataclass(frozen=True)
class PartTable:
    """Rows under the `rates` that head the columns; `notes` say why a cell is empty."""

    rates: tuple[str, ...]
    rows: tuple[PartRow, ...]
    notes: tuple[str, ...]


def part_table(membership: Membership) -> PartTable | None:
    """The table; None where nothing was measured, and in results of versions without it."""
    points = membership.operating_points
    if not points:
        return None
    rows = [PartRow(words.plain(part.name), _auc(part.auc), _found(part.operating_points)) for part in membership.parts]
    rows.append(PartRow("combined", _auc(membership.auc), _found(points)))
    notes = tuple(dict.fromkeys(words.plain(point.reason, 300) for point in points if point.reason))
    return PartTable(tuple(words.rate(point.fpr) for point in points), tuple(rows), notes)


def ssim_table(calibrated: CalibratedThreshold) -> PartTable | None:
    """The same of the best SSIM, against controls alone; None in results of versions without it."""
    points = calibrated.operating_points
    if not points:
        return None
    row = PartRow("best SSIM, against controls alone", _auc(calibrated.auc), _found(points))
    notes = tuple(dict.fromkeys(words.plain(point.reason, 300) for point in points if point.reason))
    return PartTable(tuple(words.rate(point.fpr) for point in points), (row,), notes)


def _auc(value: float | None) -> str:
    return words.number(value, 3)


def _found(points: tuple[OperatingPoint, ...]) -> tuple[str, ...]:
    return tuple(_point(point) for point in points)


def _point(point: OperatingPoint) -> str:
    if point.members_found is None or point.tpr is None or point.interval_low is None or point.interval_high is None:
        return "no rate"
    return f"{point.members_found} ({point.tpr:.0%}; {point.interval_low:.1f} to {point.interval_high:.1f})"
