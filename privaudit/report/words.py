"""Numbers and states as words, the same in every format.

In: values of a result. Out: plain text (never markup). Must not know formats or files. Absent, zero and inapplicable
read differently everywhere: `NOT_RUN`, "0" and `NOT_APPLICABLE`.
"""

import re
from math import log10
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import quote

from privaudit.result import Finding, VerdictStatus

NOT_RUN = "not run"
NOT_APPLICABLE = "not applicable"
NOT_MEASURED = "not measured"

VERDICT_TITLE: dict[VerdictStatus, str] = {
    "leak_found": "Leak found",
    "no_leak_found": "No leak found",
    "inconclusive": "Inconclusive",
}
FINDING_TITLE = {"rebuilt": "Rebuilt images", "membership": "Membership readable"}
FINDING_STATUS = {
    "found": "found",
    "not_found": "not found",
    "inconclusive": "inconclusive",
    "not_applicable": NOT_APPLICABLE,
    "not_run": NOT_RUN,
}
CONTROL_STATE = {"passed": "passed", "failed": "failed", "not_run": NOT_RUN}

ATTACK = {
    "general_loss": "a search for pictures and multipliers that add up to the weights",
    "binary_margin": "a search for pictures and multipliers that add up to the weights of a two-class margin",
    "multiclass_margin": "a search for pictures and multipliers that add up to the weights of a margin",
    "tied_equation": "its refinement by what loss and weight decay say about the multipliers",
    "feature_span": "a search for single images in what a layer's rows can express",
}
"""Objectives in plain words."""

_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_EXPONENT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | int | None, digits: int = 2) -> str:
    """A plain number; counts with thousands separators, None as "not measured"."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    if abs(value) < 10**-digits or abs(value) >= 1e6:
        return scientific(value)
    return f"{value:.{digits}f}"


def scientific(value: float) -> str:
    """`4.6 × 10⁻³¹`."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_EXPONENT)}"


def power_of_ten(value: float) -> str:
    """A tick of a log axis: `0.01`, `10⁻⁵`."""
    exponent = round(log10(value))
    return f"{value:g}" if -3 <= exponent <= 3 else f"10{str(exponent).translate(_EXPONENT)}"


def p_value(value: float | None) -> str:
    """An exact p-value, None as "not measured"."""
    if value is None:
        return NOT_MEASURED
    return scientific(value) if 0 < value < 0.001 else f"{value:.3g}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share in [0, 1] as a percentage."""
    return NOT_MEASURED if share is None else f"{100 * share:.{digits}f}\u00a0%"


def rate(share: float) -> str:
    """A stated rate in [0, 1] without superfluous digits: `1 %`, `0.5 %`."""
    return f"{100 * share:.3g}\u00a0%"


def duration(seconds: float) -> str:
    """`8.4 s`, `1 min 34 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def of(count: int, total: int) -> str:
    """`3 of 50`."""
    return f"{count:,} of {total:,}"


def images(count: int, kind: str = "image") -> str:
    """`1 training image`, `3 training images`."""
    return f"{count:,} {kind}" + ("" if count == 1 else "s")


def interval(finding: Finding) -> str:
    """The two bounds that decide a finding."""
    return f"{finding.interval_low:.1f} to {finding.interval_high:.1f}"


def plain(text: str, limit: int = 200) -> str:
    """Foreign text without control and direction characters, shortened in the middle."""
    cleaned = _UNSAFE.sub("\ufffd", text)
    if len(cleaned) <= limit:
        return cleaned
    half = (limit - 1) // 2
    return f"{cleaned[:half]}…{cleaned[-half:]}"


def file_name(path: str) -> str:
    """The last part of a path as typed on any system."""
    return plain(PureWindowsPath(PurePosixPath(path).name).name or path)


def relative_uri(path: str) -> str:
    """A relative URI for a path as typed: inside the working directory as it is, anything else by its name alone."""
    posix = PurePosixPath(path.replace("\\", "/"))
    is_inside = not posix.is_absolute() and ".." not in posix.parts and not PureWindowsPath(path).drive
    kept = posix.as_posix() if is_inside else posix.name
    return quote(plain(kept or "model", limit=1000), safe="/")
