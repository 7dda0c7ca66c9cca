"""What a published report leaves out: paths, names of records, what the user's own files said.

In: a result and a gate's decision. Out: the same with everything gone that points at the user's machine, data or
people. Counts, thresholds, intervals and scores stay. Must not know formats.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from privaudit.gate_decision import GateDecision
from privaudit.report import words
from privaudit.report.decision import FINDINGS
from privaudit.result import AuditResult

WITHHELD = "withheld"

_PLACES = {"model": "MODEL", "reference": "REFERENCE", "control": "CONTROL", "out": "OUT", "mean": "MEAN", "std": "STD"}
"""Settings that name files, and what stands in their place."""

_SETTINGS = frozenset(
    ("task", "budget", "time_limit_s", "restarts", "candidates", "seed", "device", "dtype", "engine", "fpr",
     "max_leaked", "max_readable", "fail_on", "instrument_check", "input_shape", "stride", "padding", "pool")
)  # fmt: skip
"""Settings that cannot name a file; all others are left out."""

_PART = r"[^\s'\"/\\,;:()<>]"
_ROOTED = re.compile(rf"(?<![\w/.:\\])(?:~|[A-Za-z]:|file:/?)?[/\\]{{1,2}}{_PART}+(?:[/\\]{_PART}*)*")
"""Paths from a root, a home or a drive, wherever a text has them."""

_MODULE_LIBRARIES = ("torchvision", "timm")

_WORDS_OF_OURS = frozenset(
    ("status", "name", "fail_on", "schema_version", "sha256", "self_sha256", "format", "kind", "positive_control",
     "negative_control", "rule", "objective", "objectives", "tool")
)  # fmt: skip
"""Fields whose values are privaudit's own words, whatever a record is called."""


def public_result(result: AuditResult) -> AuditResult:
    """The result as it can be published with its model: no path, no name of a record, no text of the user's files."""
    scrub = _scrubber(result)
    data = _walked(result.model_dump(mode="json"), scrub)
    data["model"] |= {
        "path": words.file_name(result.model.path),
        "sha256": result.model.sha256,
        "adapter": _adapter(result.model.adapter),
        "metadata": {},
    }
    config = result.reproduce.config
    data["reproduce"] |= {
        "command": _command(result),
        "config": {key: value for key, value in config.items() if key in _SETTINGS},
        "machine": WITHHELD,
        "versions": dict(result.reproduce.versions),
        "started": result.reproduce.started,
    }
    if data["evidence"] is not None:
        _without_names(data["evidence"])
    return AuditResult.model_validate(data)


def public_decision(decision: GateDecision | None, result: AuditResult) -> GateDecision | None:
    """A gate's decision without who granted a waiver and why, and without paths."""
    if decision is None:
        return None
    scrub = _scrubber(result)
    data = _walked(decision.model_dump(mode="json"), scrub)
    data["policy"] = words.file_name(decision.policy)
    data["result_sha256"], data["model_sha256"] = decision.result_sha256, decision.model_sha256
    for waiver, given in zip(data["waivers"], decision.waivers, strict=True):
        waiver["owner"] = waiver["reason"] = waiver["message"] = WITHHELD
        waiver["target"] = _target(given.target, result)
    for comparison in data["comparisons"]:
        for kind in ("new", "gone", "unchanged"):
            comparison[kind] = [WITHHELD] * len(comparison[kind])
    return GateDecision.model_validate(data)


def _target(target: str, result: AuditResult) -> str:
    """What a waiver is about: a finding as it is, a record by its number."""
    if target in FINDINGS:
        return target
    finding, colon, record = target.partition(":")
    lead, name = (f"{finding}:", record) if colon and finding in FINDINGS else ("", target)
    return lead + _numbers(result).get(name, "a record")


def _numbers(result: AuditResult) -> dict[str, str]:
    """Records by their place in the result, which says nothing to who does not hold the reference."""
    records = result.evidence.records if result.evidence else ()
    return {record.id: f"record {place}" for place, record in enumerate(records, start=1)}


def _without_names(evidence: dict[str, Any]) -> None:
    """Records and images by number, in place; which of them are alike is a count, not a list."""
    for index, record in enumerate(evidence["records"], start=1):
        record["id"] = f"record {index}"
    n_excluded = len(evidence["excluded_duplicates"])
    evidence["excluded_duplicates"] = [WITHHELD] * n_excluded
    evidence["near_duplicates"] = [[WITHHELD] * len(group) for group in evidence["near_duplicates"]]


def _adapter(name: str) -> str:
    """`mlp` and `torchvision:resnet18` as they are; of `file.py:factory` that it was the user's own."""
    library, colon, _ = name.partition(":")
    return name if not colon or library in _MODULE_LIBRARIES else "the user's own module"


def _command(result: AuditResult) -> str:
    """The command with every place by its role, and options that may hold text of the user left out."""
    given = " ".join(
        f"--{key.replace('_', '-')} {_PLACES[key]}"
        for key in ("reference", "control", "mean", "std", "out")
        if result.reproduce.config.get(key) is not None
    )
    return f"privaudit scan MODEL {given}".strip()


def _scrubber(result: AuditResult) -> Callable[[str], str]:
    """Replaces every path that the result is known to hold, names of its records, and whatever looks like a path."""
    known = dict(_known_places(result))
    names = _numbers(result)
    if result.evidence is not None:
        others = (result.evidence.excluded_duplicates, *result.evidence.near_duplicates)
        names = {name: "an image" for group in others for name in group} | names
    # Whole numbers and a letter or two stay: counts and words look like them, and they name nobody.
    known |= {name: number for name, number in names.items() if not name.isdigit() and len(name) > 2}
    if not known:
        return lambda text: _ROOTED.sub("a path", text)
    longest_first = sorted(known, key=len, reverse=True)
    texts = "|".join(re.escape(text) for text in longest_first)
    pattern = re.compile(rf"(?<!\w)(?P<known>{texts})(?!\w)(?:[/\\]{_PART}*)*")

    def scrub(text: str) -> str:
        return _ROOTED.sub("a path", pattern.sub(lambda found: known[found["known"]], text))

    return scrub


def _known_places(result: AuditResult) -> Iterable[tuple[str, str]]:
    """Texts that name files: settings, the model, tokens of the command, and the folders that they lie in."""
    for key, value in result.reproduce.config.items():
        if isinstance(value, str) and _is_place(value):
            yield value, _PLACES.get(key, "a path")
    try:
        tokens = shlex.split(result.reproduce.command)
    except ValueError:
        tokens = result.reproduce.command.split()
    for token in (*tokens, result.model.path, result.model.adapter):
        if _is_place(token):
            yield token, "a path"
            for folder in (*PurePosixPath(token).parents, *PureWindowsPath(token).parents):
                if _is_place(str(folder)) and len(str(folder)) > 3:
                    yield str(folder), "a path"


def _is_place(text: str) -> bool:
    return "/" in text or "\\" in text


def _walked(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {key: item if key in _WORDS_OF_OURS else _walked(item, scrub) for key, item in value.items()}
    if isinstance(value, list):
        return [_walked(item, scrub) for item in value]
    return value
