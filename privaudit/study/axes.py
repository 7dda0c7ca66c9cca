"""Along what a row of a study can be drawn: one setting in numbers, lines for the others, single points by name.

In: a `RowRecord`. Out: `Series` of positions. Must not know matplotlib or markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from privaudit.study.record import PointRecord, RowRecord

WIDTH, DEPTH = "width", "depth"
_LEAST_POSITIONS = 2


@dataclass(frozen=True)
class Series:
    """Points that belong on one line; `is_line` is False for a point that the file names, which stands alone.

    `label` is empty where there is nothing to tell it from.
    """

    label: str
    is_line: bool
    points: tuple[tuple[float, PointRecord], ...]


@dataclass(frozen=True)
class Axis:
    """The setting along which a row is drawn, in words, and what is on it."""

    field: str
    series: tuple[Series, ...]

    @property
    def words(self) -> str:
        """Its name with spaces."""
        return self.field.removeprefix("scan.").replace("_", " ")

    @property
    def values(self) -> tuple[float, ...]:
        """Every position once, rising."""
        return tuple(sorted({x for one in self.series for x, _ in one.points}))


def axis_of(row: RowRecord) -> Axis | None:
    """The numeric setting with the most values among the grid's points; None where no line could be drawn."""
    grid = [point for point in row.points if not point.named]
    counted = [(len({numbers(point)[name] for point in grid}), name) for name in _numeric(grid)]
    best = max(counted, key=lambda pair: pair[0], default=(0, ""))  # of equals the first
    if best[0] < _LEAST_POSITIONS:
        return None
    name = best[1]
    lines: dict[str, list[tuple[float, PointRecord]]] = {}
    for point in grid:
        lines.setdefault(_others(point, name, grid), []).append((numbers(point)[name], point))
    series = [Series(label, True, tuple(sorted(some, key=lambda pair: pair[0]))) for label, some in lines.items()]
    for point in row.points:
        x = numbers(point).get(name)
        if point.named and x is not None:
            series.append(Series(point.label, False, ((x, point),)))
    return Axis(name, tuple(series))


def numbers(point: PointRecord) -> dict[str, float]:
    """Settings of a point that are numbers; of hidden layers width and depth."""
    found = {
        name: float(value)
        for name, value in point.fields.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    hidden = point.fields.get("hidden")
    if isinstance(hidden, list | tuple) and hidden:
        found |= {WIDTH: float(max(hidden)), DEPTH: float(len(hidden))}
    return found


def _numeric(points: Sequence[PointRecord]) -> list[str]:
    """Settings that are a number in every one of these points."""
    every = [numbers(point) for point in points]
    return [name for name in every[0] if all(name in one for one in every)] if every else []


def _others(point: PointRecord, field: str, grid: Sequence[PointRecord]) -> str:
    """In words, what distinguishes a point from the others apart from `field`."""
    is_hidden = field in (WIDTH, DEPTH)
    parts = []
    for name, value in point.fields.items():
        if name == field or (is_hidden and name == "hidden"):
            continue
        if len({str(other.fields[name]) for other in grid}) > 1:
            parts.append(f"{name.removeprefix('scan.').replace('_', ' ')} {value_words(value)}")
    if is_hidden:
        other = DEPTH if field == WIDTH else WIDTH
        if len({numbers(one)[other] for one in grid}) > 1:
            parts.append(f"{other} {numbers(point)[other]:g}")
    return ", ".join(parts)


def value_words(value: Any) -> str:
    """A setting's value for people."""
    if value is None:
        return "all"
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
