"""Cells of a study: every row's points, each once a seed, checked before anything runs.

In: a `GridFile`. Out: `Row`s of `Cell`s whose recipe and scan are valid, or a `ConfigError` of one line. Must not know
tensors, nor how cells are run or what comes out.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from privaudit.config import ScanSettings, check_options
from privaudit.config_sources import runs_code as adapter_runs_code
from privaudit.errors import ConfigError
from privaudit.study.fingerprint import cell_digest
from privaudit.study.grid_file import GridFile, RowTable, Settings
from privaudit.study.recipe import Recipe, absolute, checked_recipe, runs_code

DEFAULT_SEEDS = (0, 1, 2)
"""Three, so that two settings can be told apart."""

FIXED = frozenset({"model", "reference", "control", "out", "resume", "reveal", "format", "exit_zero", "engine"})
"""Settings of a scan that a study decides by itself."""

_LONGEST_LABEL = 120


@dataclass(frozen=True)
class Cell:
    """One network to train and scan.

    Attributes:
        row: name of its row; `point` the label of its point.
        is_named: whether the point was named in the file rather than made by a grid.
        seed: of this run.
        recipe: how it is trained; `scan` settings of the scan by name, checked, those of `FIXED` left out.
        digest: of everything that decides the outcome, 16 hexadecimal digits.
        source: what the images are called where the study is shown: never a path.
    """

    row: str
    point: str
    is_named: bool
    seed: int
    recipe: Recipe
    scan: Mapping[str, Any]
    digest: str
    source: str


@dataclass(frozen=True)
class Row:
    """One question with its cells, points in the file's order and each point's seeds together."""

    name: str
    title: str
    shows: str
    published: str
    gpu_minutes: float | None
    baseline: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Choices:
    """What the command line says about a grid file.

    Attributes:
        is_full: run the published size.
        rows: names of those to run; empty: all.
        data: name to source, before the file's own.
        seeds: instead of the file's; None: the file's.
        allows_code: whether files that training or a scan would run may be named.
        folder: what relative paths in the file are relative to.
    """

    is_full: bool = False
    rows: tuple[str, ...] = ()
    data: Mapping[str, str] | None = None
    seeds: tuple[int, ...] | None = None
    allows_code: bool = False
    folder: Path = Path()


@dataclass(frozen=True)
class _Point:
    label: str
    is_named: bool
    fields: Mapping[str, Any]


def rows_of(grid: GridFile, choices: Choices) -> tuple[Row, ...]:
    """Every row that was chosen, with its cells.

    Raises:
        ConfigError: an unknown setting, row or data name, a value out of range, an empty list, `seed` as a setting,
            two equal points, a baseline that is no point, code that was not allowed.
        DataError: a source of images that is a path and does not exist.
    """
    known = {row.name: row for row in grid.rows()}
    unknown = [name for name in choices.rows if name not in known]
    if unknown:
        raise ConfigError(f"expected --row as one of {', '.join(known)}, found {unknown[0]!r}; --list shows them")
    unused = [name for name in choices.data or {} if name not in grid.data]
    if unused:
        names = ", ".join(grid.data) or "none"
        raise ConfigError(f"expected --data for a name of the table [data], which has {names}, found {unused[0]!r}")
    return tuple(_row(grid, row, choices) for row in known.values() if _is_chosen(row, choices))


def _is_chosen(table: RowTable, choices: Choices) -> bool:
    """All but optional ones where none is named; of those only the ones whose data are."""
    if choices.rows:
        return table.name in choices.rows
    names = {
        value.removeprefix("$") for value in _strings(table.model_dump(include={"train", "grid", "point", "full"}))
    }
    return not table.optional or not names.isdisjoint(choices.data or {})


def _strings(value: object) -> Iterator[str]:
    """Every text in nested tables and lists."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _strings(inner)


def _row(grid: GridFile, table: RowTable, choices: Choices) -> Row:
    layers = [grid, *([grid.full] if choices.is_full else []), table, *([table.full] if choices.is_full else [])]
    where = f"row {table.name!r}"
    seeds = choices.seeds or next((layer.seeds for layer in reversed(layers) if layer.seeds), DEFAULT_SEEDS)
    points = _points(layers[layers.index(table) :], table, where)
    base = {f"train.{key}": value for layer in layers for key, value in layer.train.items()}
    base |= {f"scan.{key}": value for layer in layers for key, value in layer.scan.items()}
    cells = tuple(
        _cell(table.name, point, seed, {**base, **point.fields}, grid, choices) for point in points for seed in seeds
    )
    _refuse_equal(cells, where)
    labels = [point.label for point in points]
    if table.baseline and table.baseline not in labels:
        raise ConfigError(
            f"expected the baseline of {where} as one of {', '.join(map(repr, labels))}, found {table.baseline!r}"
        )
    return Row(
        name=table.name,
        title=table.title or table.name,
        shows=table.shows,
        published=table.published,
        gpu_minutes=table.gpu_minutes,
        baseline=table.baseline or labels[0],
        cells=cells,
    )


def _points(layers: Sequence[Settings], table: RowTable, where: str) -> tuple[_Point, ...]:
    """Combinations of the grid, then named points; a row without either is one point."""
    grid: dict[str, Any] = {}
    for layer in layers:
        grid.update(_flat(layer.grid))
    named = next((layer.point for layer in reversed(layers) if layer.point), ())
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"expected a list with at least one value for {key} in the grid of {where}, found {values!r}"
            )
    points = []
    if grid:
        varied = [key for key, values in grid.items() if len(values) > 1] or list(grid)
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            label = ", ".join(_words(key, chosen[key]) for key in varied)
            points.append(_Point(label[:_LONGEST_LABEL], False, _prefixed(chosen)))
    for given in named:
        fields = _flat({key: value for key, value in given.items() if key != "label"})
        label = given.get("label") or ", ".join(_words(key, value) for key, value in fields.items())
        if not isinstance(label, str) or not label:
            raise ConfigError(f"expected a label of text for each point of {where}, found {label!r}; give it one")
        points.append(_Point(label[:_LONGEST_LABEL], True, _prefixed(fields)))
    points = points or [_Point(table.title or table.name, False, {})]
    labels = [point.label for point in points]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"expected points with different labels in {where}, found {twice!r} twice; rename one")
    return tuple(points)


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`scan.budget = …`, which TOML reads as a table inside a table, to the key `scan.budget`."""
    nested = fields.get("scan")
    flat = {key: value for key, value in fields.items() if not (key == "scan" and isinstance(nested, dict))}
    return flat | ({f"scan.{key}": value for key, value in nested.items()} if isinstance(nested, dict) else {})


def _prefixed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key if key.startswith("scan.") else f"train.{key}": value for key, value in fields.items()}


def _words(key: str, value: object) -> str:
    """`weight_decay`, 0.001 to `weight decay 0.001`."""
    name = key.removeprefix("scan.").replace("_", " ")
    if isinstance(value, list):
        return f"{name} {'-'.join(str(part) for part in value)}"
    if isinstance(value, float):
        return f"{name} {value:g}"
    return f"{name} {str(value).removeprefix('$')}"


def _cell(row: str, point: _Point, seed: int, fields: Mapping[str, Any], grid: GridFile, choices: Choices) -> Cell:
    where = f"row {row!r}, point {point.label!r}"
    train = {key.removeprefix("train."): value for key, value in fields.items() if key.startswith("train.")}
    scan = {key.removeprefix("scan."): value for key, value in fields.items() if key.startswith("scan.")}
    if "seed" in train:
        raise ConfigError(f"expected seeds = [...] instead of a setting seed in {where}, found seed; move it there")
    given = train.get("data", Recipe().data)
    train = {**train, "data": _source(given, grid, choices, where)}
    for name in ("architecture", "loss"):
        if isinstance(train.get(name), str) and runs_code(train[name]):
            train[name] = _allowed_code(train[name], choices, where)
    recipe = checked_recipe({"data_seed": seed, **train, "seed": seed}, where)
    settings = _scan_settings({"seed": seed, **scan}, choices, where)
    source = without_folders(str(given).removeprefix("$"))
    return Cell(row, point.label, point.is_named, seed, recipe, settings, cell_digest(recipe, settings), source)


def _source(value: object, grid: GridFile, choices: Choices, where: str) -> object:
    """`$name` to what it stands for; a relative path of the file to one that is relative to its folder."""
    name = value.removeprefix("$") if isinstance(value, str) and value.startswith("$") else None
    if name is not None and choices.data and name in choices.data:
        return choices.data[name]
    if name is not None and name not in grid.data:
        raise ConfigError(f"expected {value!r} of {where} in the table [data], found {', '.join(grid.data) or 'none'}")
    return absolute("data", grid.data[name] if name is not None else value, choices.folder)


def without_folders(value: str) -> str:
    """A path's last part; a study is shown to others, whom folders tell nothing."""
    return value if value.startswith("torchvision:") else value.rpartition("/")[2]


def _allowed_code(value: str, choices: Choices, where: str) -> str:
    if not choices.allows_code:
        raise ConfigError(
            f"expected no code in a grid file, found {value!r} in {where}, which training would run; "
            "give --allow-code if you trust that file"
        )
    return str(absolute("architecture", value, choices.folder))


def _scan_settings(given: Mapping[str, Any], choices: Choices, where: str) -> dict[str, Any]:
    """Checked settings of a scan by name; those that were not given are left out."""
    allowed = [name for name in ScanSettings.model_fields if name not in FIXED]
    for name in given:
        if name in FIXED:
            raise ConfigError(f"expected a setting of the scan that a study leaves open in {where}, found {name!r}")
        if name not in allowed:
            nearest = difflib.get_close_matches(name, allowed, n=1, cutoff=0.0)[0]
            raise ConfigError(f"expected a setting of the scan in {where}, found {name!r}; the nearest is {nearest!r}")
    adapter = given.get("adapter")
    if isinstance(adapter, str) and adapter_runs_code(adapter):
        given = {**given, "adapter": _allowed_code(adapter, choices, where)}
    try:
        return check_options(**given)
    except ConfigError as error:
        raise ConfigError(f"{error} ({where})") from None


def _refuse_equal(cells: Sequence[Cell], where: str) -> None:
    """Two points that come to the same would be one network counted twice."""
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.digest, cell)
        if other is not cell:
            raise ConfigError(
                f"expected different points in {where}, found {other.point!r} (seed {other.seed}) and "
                f"{cell.point!r} (seed {cell.seed}) with the same settings; drop one"
            )


def cells_of(rows: Sequence[Row]) -> Iterator[Cell]:
    """Cells of all rows in order."""
    for row in rows:
        yield from row.cells
