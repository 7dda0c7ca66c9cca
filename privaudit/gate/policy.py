"""`policy.toml`: what a gate allows, demands and waives.

In: a file. Out: a `Policy` without an unknown key, or a `ConfigError` of one line. Knows no results; nothing in a
policy can make the gate accept an instrument that was not checked.
"""

import difflib
import hashlib
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from math import floor
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from privaudit.config import Budget, FailOn
from privaudit.errors import ConfigError
from privaudit.gate.doubts import TolerableCode
from privaudit.statistics import ROUNDING
from privaudit.text import one_line

ANY_CLASS = "*"
_SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*%", re.ASCII)
VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,5}", re.ASCII)
"""Numbers of a version, few and short enough to be compared as numbers, whoever wrote them."""

LARGEST = 10**9
"""Of every number in a policy: more records or seconds than there are, and still exact as a float."""

_LARGEST_BYTES = 1 << 20


def _allowance(value: object) -> object:
    """A count, or a share as text; a bare fraction could mean either."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('a count such as 4 or a share such as "2%"')
    if isinstance(value, str):
        found = _SHARE.fullmatch(value.strip())
        if found is None or float(found[1]) > 100:
            raise ValueError('a count such as 4 or a share such as "2%"')
        return value.strip()
    if not 0 <= value <= LARGEST:
        raise ValueError(f"a count of 0 or more, up to {LARGEST}")
    return value


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
        raise ValueError(f"a whole number of 0 or more, up to {LARGEST}")
    return value


def _number(value: object) -> object:
    """TOML's own numbers: text and truth values would otherwise be converted."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise ValueError(f"a number from 0 to {LARGEST}")
    return value


def _day(value: object) -> object:
    """A date without a time, which could be in any zone; a number would be taken for seconds since 1970."""
    if value is not None and type(value) is not date:
        raise ValueError("a date such as 2027-01-31, without quotes")
    return value


def _version(value: object) -> object:
    if not isinstance(value, str) or not VERSION.fullmatch(value):
        raise ValueError('a version such as "0.1.0"')
    return value


Allowance = Annotated[int | str, BeforeValidator(_allowance)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Day = Annotated[date, BeforeValidator(_day)]


class Table(BaseModel):
    """Base of the policy's tables: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ClassAllowance(Table):
    """Records of one class that may be counted; None sets no limit of its own."""

    rebuilt: Allowance | None = None
    readable: Allowance | None = None


class Allow(ClassAllowance):
    """Records that may leak: a count, or a share of the records examined (rounded down).

    `per_class`: by label, `*` for every label without an entry of its own.
    """

    per_class: dict[str, ClassAllowance] = Field(default_factory=dict)


class Tolerance(Table):
    """Reasons of `inconclusive` that do not fail the gate; every other one does."""

    tolerate: tuple[TolerableCode, ...] = ()


class Minimum(Table):
    """What a result must rest on at least.

    Attributes:
        budget: effort of the attack, not narrowed by hand.
        budget_seconds: of attack that were run.
        controls: images never trained on; `records` images of the reference.
        fpr: stated false-positive rate; a smaller one raises the threshold that records have to exceed.
        tool_version: that scanned.
    """

    budget: Budget | None = None
    budget_seconds: Number | None = None
    controls: Whole | None = None
    records: Whole | None = None
    fpr: Annotated[Number, Field(gt=0, lt=1)] | None = None
    tool_version: Annotated[str, BeforeValidator(_version)] | None = None


class Waiver(Table):
    """Somebody's acceptance of a leak. Everything but the target may be missing, and then the waiver is refused.

    Attributes:
        target: `rebuilt`, `membership`, the id of a record, or an id of one finding (`rebuilt:ID`).
        expires: the last day on which it holds, UTC.
        model_sha256: of the model it was granted for.
    """

    target: Annotated[str, Field(min_length=1)]
    reason: str = ""
    owner: str = ""
    expires: Day | None = None
    model_sha256: str = ""


class Policy(Table):
    """The whole of `policy.toml`."""

    fail_on: FailOn | None = None
    allow: Allow = Allow()
    inconclusive: Tolerance = Tolerance()
    minimum: Minimum = Minimum()
    waiver: tuple[Waiver, ...] = ()


@dataclass(frozen=True)
class PolicyFile:
    """A policy and the file it came from; `name` is the file's own, `sha256` over its bytes."""

    policy: Policy
    name: str
    sha256: str


def read_policy(path: Path) -> PolicyFile:
    """Read and check a policy.

    Raises:
        ConfigError: missing, no TOML, an unknown key or a value of the wrong kind.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            raise ValueError(f"more than {_LARGEST_BYTES} bytes")
        document = tomllib.loads(data.decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"expected a policy at {path}, found no such file; check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML in {path}, found: {one_line(error)}; correct the policy") from None
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_complaint(error, path)) from None
    return PolicyFile(policy, path.name, hashlib.sha256(data).hexdigest())


def records_allowed(allowance: int | str, n_records: int) -> int:
    """An allowance in records: shares are rounded down."""
    if isinstance(allowance, int):
        return allowance
    return floor(float(allowance.rstrip("% ")) / 100 * n_records + ROUNDING)


def _complaint(error: ValidationError, path: Path) -> str:
    """One line about the first thing that is wrong."""
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys()
        nearest = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.0)[0]
        return (
            f"expected only keys of a policy in {path}, found {one_line(where, 80)!r}; the nearest valid one is "
            f"{nearest!r}, docs/gate.md lists them all"
        )
    wanted = first["ctx"]["error"] if first["type"] == "value_error" else one_line(first["msg"])
    if first["type"] == "literal_error":
        wanted = f"one of {first['ctx']['expected']}"
    return f"expected {wanted} for {one_line(where, 80)} in {path}, found {one_line(repr(first['input']), 80)}"


def _known_keys() -> list[str]:
    tables: tuple[type[Table], ...] = (Policy, Allow, Tolerance, Minimum, Waiver)
    return sorted({name for table in tables for name in table.model_fields})
