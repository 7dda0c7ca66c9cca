"""Recommendations, limits, identifiers, sources and glossary: the data files, and the facts that select from them.

In: an `AuditResult`. Out: the entries that apply. The texts are data (`report/data/*.toml`); this module only knows
when a fact holds. Must not know formats.
"""

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from privaudit.result import AuditResult
from privaudit.verdict import budget_saturated


@dataclass(frozen=True)
class Reference:
    """A source; `url` may be empty."""

    key: str
    text: str
    url: str


@dataclass(frozen=True)
class Recommendation:
    """One thing to do, selected because all of `when` hold."""

    id: str
    title: str
    text: str
    when: tuple[str, ...]
    sources: tuple[Reference, ...]


@dataclass(frozen=True)
class Identifier:
    """An entry of a public framework that the findings are related to."""

    id: str
    title: str
    publisher: str
    date: str
    relation: str


@dataclass(frozen=True)
class Effect:
    """What one change in training did to a leak, over several seeds, as printed; `*_before` without the change."""

    change: str
    baseline: str
    network: str
    rebuilt: str
    rebuilt_before: str
    readable: str
    readable_before: str
    accuracy: str
    accuracy_before: str
    difference: str


@dataclass(frozen=True)
class Measured:
    """Effects of changes in training, and how far they carry."""

    note: str
    effects: tuple[Effect, ...]


def facts(result: AuditResult) -> dict[str, bool]:
    """Every fact a rule may name, and whether it holds."""
    found = {finding.name for finding in result.verdict.findings if finding.status == "found"}
    evidence, instrument = result.evidence, result.instrument
    return {
        "rebuilt_found": "rebuilt" in found,
        "membership_found": "membership" in found,
        "any_found": bool(found),
        "no_leak_found": result.verdict.status == "no_leak_found",
        "has_evidence": evidence is not None,
        "no_reference": evidence is None,
        "no_false_positive_rate": evidence is None or evidence.calibrated_threshold.ssim is None,
        "membership_applicable": evidence is not None and evidence.membership.applicable,
        "allowance_unsupported": any(_is_between(result, name) for name in ("rebuilt", "membership")),
        "budget_not_saturated": budget_saturated(result.attack.budget_curve) is False,
        "interrupted": result.attack.interrupted,
        "positive_control_not_passed": instrument.positive_control != "passed",
        "negative_control_failed": instrument.negative_control == "failed",
        "attack_not_applicable": not result.preflight.applicable,
        "pickle_format": result.model.format.startswith("torch"),
    }


def _is_between(result: AuditResult, name: str) -> bool:
    """Whether a counted finding's bounds lie on both sides of its allowance."""
    return result.evidence is not None and any(
        f.name == name and f.status == "inconclusive" and f.interval_low <= f.allowance < f.interval_high
        for f in result.verdict.findings
    )


def recommendations(result: AuditResult) -> tuple[Recommendation, ...]:
    """What follows from the findings, in the order of the data file."""
    sources = {reference.key: reference for reference in references()}
    return tuple(
        Recommendation(
            entry["id"],
            entry["title"],
            entry["text"],
            tuple(entry["when"]),
            tuple(sources[key] for key in entry["sources"]),
        )
        for entry in _holding("recommendation", "recommendations.toml", result)
    )


def measured(result: AuditResult) -> Measured | None:
    """What changed a leak where it was measured; None where this result has none to lower."""
    if not facts(result)["any_found"]:
        return None
    data = json.loads(files("privaudit.report").joinpath("data", "measured.json").read_text(encoding="utf-8"))
    note = (
        f"From the study “{data['source']}” ({data['size']} size, {data['measured']}), three seeds or more a row. A "
        "difference is named only where the intervals do not overlap and every seed of one lies above every seed of "
        "the other. That this attack rebuilt nothing does not mean that none could."
    )
    return Measured(note, tuple(Effect(**entry) for entry in data["effects"]))


def limits(result: AuditResult) -> tuple[str, ...]:
    """What this result does not say."""
    return tuple(entry["text"] for entry in _holding("limit", "limits.toml", result))


def references() -> tuple[Reference, ...]:
    """All sources."""
    return tuple(Reference(**entry) for entry in _load("references.toml")["reference"])


def identifiers() -> tuple[Identifier, ...]:
    """The identifiers of public frameworks."""
    return tuple(Identifier(**entry) for entry in _load("identifiers.toml")["identifier"])


def glossary() -> tuple[tuple[str, str], ...]:
    """Terms and what they mean, in alphabetical order."""
    return tuple((entry["name"], entry["text"]) for entry in _load("glossary.toml")["term"])


def _holding(kind: str, file: str, result: AuditResult) -> list[dict[str, Any]]:
    holds = facts(result)
    return [entry for entry in _load(file)[kind] if all(holds[fact] for fact in entry["when"])]


@cache
def _load(file: str) -> dict[str, Any]:
    return tomllib.loads(files("privaudit.report").joinpath("data", file).read_text(encoding="utf-8"))
