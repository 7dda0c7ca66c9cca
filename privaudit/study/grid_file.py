"""A grid file: what a study asks, as TOML.

In: a file. Out: a `GridFile` whose structure is right, or a `ConfigError` of one line. Must not know which settings
training and scans have; `privaudit.study.cells` checks those. The file runs no code.
"""

import difflib
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator, model_validator

from privaudit.errors import ConfigError
from privaudit.study.recipe import LARGEST_SEED

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Settings(BaseModel):
    """Settings of a file, of a row, or of either at its published size.

    Attributes:
        seeds: each point is run once a seed; None: as said further out, in the end 0, 1 and 2.
        train: fields of `Recipe` by name.
        scan: fields of `ScanSettings` by name.
        grid: field to the values it takes; every combination is a point. `scan.FIELD` is one of the scan's.
        point: further points, fields by name and a `label`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seeds: tuple[NonNegativeInt, ...] | None = None
    train: dict[str, Any] = {}
    scan: dict[str, Any] = {}
    grid: dict[str, Any] = {}
    point: tuple[dict[str, Any], ...] = ()

    @field_validator("seeds", "point", mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _some_and_distinct(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ConfigError(f"expected at least one seed and none twice, found seeds = {list(value)}")
        if value is not None and max(value) >= LARGEST_SEED:
            raise ConfigError(f"expected seeds below 2^62, found seeds = {list(value)}")
        return value


class RowTable(Settings):
    """One question of a study.

    Attributes:
        name: short and unique, for `--row` and for files.
        title: for people.
        shows: what the row is to show, in words.
        published: where the setting was published.
        gpu_minutes: expected time of the published size on one data-centre GPU.
        baseline: label of the point that the others are compared with; empty: the first.
        optional: left out unless it is named, or its data are: for images that not everybody has.
        full: what is different at the published size.
    """

    name: str
    title: str = ""
    shows: str = ""
    published: str = ""
    gpu_minutes: float | None = Field(default=None, ge=0, strict=False, allow_inf_nan=False)
    baseline: str = ""
    optional: bool = False
    full: Settings = Settings()

    @field_validator("name")
    @classmethod
    def _is_short(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ConfigError(
                f"expected the name of a row as letters, digits, '.', '_' and '-', found {value!r}; rename it"
            )
        return value


class GridFile(Settings):
    """A whole grid file. Without rows the file itself is the only one.

    Attributes:
        title: of the study.
        data: name to a source of images; `data = "$name"` in a row stands for it.
        row: the questions.
        full: what is different at the published size, in every row.
    """

    title: str = "Study"
    shows: str = ""
    published: str = ""
    gpu_minutes: float | None = Field(default=None, ge=0, strict=False, allow_inf_nan=False)
    baseline: str = ""
    data: dict[str, str] = {}
    row: tuple[RowTable, ...] = ()
    full: Settings = Settings()

    @field_validator("row", mode="before")
    @classmethod
    def _rows_from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "GridFile":
        if not self.row:
            if not self.model_fields_set - {"title", "data"}:
                raise ConfigError("expected a grid, a point, a row or settings, found none; docs/study.md shows one")
            return self
        for key in ("grid", "point", "baseline", "shows", "published", "gpu_minutes"):
            if getattr(self, key):
                raise ConfigError(f"expected {key} inside a [[row]] in a file with rows, found it outside; move it")
        if self.full.grid or self.full.point:
            raise ConfigError("expected the grid and points of full inside a [[row]], found them outside; move them")
        names = [row.name for row in self.row]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"expected rows with different names, found {twice!r} twice; rename one")
        return self

    @property
    def has_full(self) -> bool:
        """Whether it says what is different at a published size."""
        return any(full != Settings() for full in (self.full, *(row.full for row in self.row)))

    def rows(self) -> tuple[RowTable, ...]:
        """The rows, of a file without any the file itself."""
        if self.row:
            return self.row
        own = {name: getattr(self, name) for name in ("shows", "published", "gpu_minutes", "baseline", "grid", "point")}
        inner = Settings(grid=self.full.grid, point=self.full.point)
        return (RowTable(name="study", title=self.title, full=inner, **own),)


def read_grid_file(path: Path) -> GridFile:
    """Read and check the structure of a grid file.

    Raises:
        ConfigError: missing, no TOML, an unknown key, a value of the wrong kind, two rows of one name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a grid file at {path}, found: {error}; name a TOML file or --paper") from None
    return parse_grid(text, str(path))


def paper_grid() -> GridFile:
    """The shipped table of published settings."""
    return parse_grid(files("privaudit.study").joinpath("data", "paper.toml").read_text(encoding="utf-8"), "paper.toml")


def parse_grid(text: str, origin: str) -> GridFile:
    """A grid file's text.

    Args:
        text: TOML.
        origin: where it comes from, for messages.

    Raises:
        ConfigError: as for `read_grid_file`.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML in {origin}, found: {error}; correct the file") from None
    try:
        return GridFile.model_validate(document)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            nearest = _nearest(first["loc"])
            raise ConfigError(
                f"expected a known key in {origin}, found {where!r}; the nearest is {nearest!r}"
            ) from None
        raise ConfigError(
            f"expected {first['msg'].lower()} for {where} in {origin}, found {first['input']!r}"
        ) from None
    except ConfigError as error:
        raise ConfigError(f"{error} ({origin})") from None


def _nearest(location: tuple[object, ...]) -> str:
    """The known key most like the last part of a location."""
    model: Any = GridFile
    for part in location[:-1]:
        model = {"row": RowTable, "full": Settings}.get(str(part), model)
    names: list[str] = list(model.model_fields)
    return difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.0)[0]
