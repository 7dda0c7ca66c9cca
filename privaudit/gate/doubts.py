"""Why a result cannot be decided, as stable codes derived from the result itself, never from its sentences.

In: a result. Out: `Doubt`s. A reason that this module does not know becomes `other`, which no policy can tolerate, so
that a verdict stricter than this module stays strict.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from privaudit.coverage import shortfalls_of, unexplained, unfit_reference
from privaudit.result import AuditResult, Finding, Verdict
from privaudit.verdict import budget_saturated, verdict_for

TolerableCode = Literal[
    "allowance-not-confirmed",
    "attack-incomplete",
    "budget-not-saturated",
    "interrupted",
    "like-controls",
    "no-controls",
    "not-applicable",
    "not-selected",
    "unexplained",
    "unfit-reference",
]
Code = Literal[TolerableCode, "instrument-failed", "instrument-not-run", "no-reference", "nothing-run", "other"]

MEANING: dict[str, str] = {
    "allowance-not-confirmed": "the upper bound of a finding is above the allowance and its lower bound is not",
    "attack-incomplete": "planned work was not done, or diverged",
    "budget-not-saturated": "the attack was still finding records when its budget ended",
    "interrupted": "the attack was stopped by hand",
    "like-controls": "the lower bound is above the allowance, but a test cannot tell members from controls or placebo",
    "no-controls": "no false-positive rate can be given, usually for want of controls",
    "not-applicable": "no reconstruction attack applies to this network",
    "not-selected": "a finding was made that `fail_on` does not fail on",
    "unexplained": "the reference does not explain the weights, so it may not be what the network was trained on",
    "unfit-reference": "the reference does not span the first layer, so other images made it",
    "instrument-failed": "a check of the instrument failed",
    "instrument-not-run": "a check of the instrument did not run",
    "no-reference": "no reference images were compared",
    "nothing-run": "the attack applies and not one step of it was run",
    "other": "a reason of the verdict that has no code",
}
"""What each code says, for `docs/gate.md` and messages."""

TOLERABLE: frozenset[str] = frozenset(get_args(TolerableCode))


@dataclass(frozen=True)
class Doubt:
    """One reason why nothing can be concluded; `message` is a sentence."""

    code: Code
    message: str


def general_doubts(result: AuditResult) -> tuple[Doubt, ...]:
    """Doubts that remain if every record were allowed to leak: about the instrument, the attack and the data."""
    verdict = _all_allowed(result)
    known = (*unmeasured(result).values(), *_incomplete(result))
    about = (*_instrument(result), *_attack(result))
    stated = () if verdict.status == "no_leak_found" else verdict.reasons
    told = {doubt.message for doubt in known}
    rest = [reason for reason in stated if reason not in told]
    unknown = tuple(Doubt("other", reason) for reason in rest) if len(rest) > len(about) else ()
    return (*_incomplete(result), *about, *unknown, *_nothing_run(result))


def unmeasured(result: AuditResult) -> dict[str, Doubt]:
    """Findings of which nothing can be said at any allowance, by name, and why."""
    codes: dict[str, Code] = {
        "not_run": "no-reference",
        "not_applicable": "not-applicable",
        "inconclusive": "no-controls",
        "found": "other",
    }
    return {
        finding.name: Doubt(codes[finding.status], finding.reason)
        for finding in _all_allowed(result).findings
        if finding.status != "not_found"
    }


def _all_allowed(result: AuditResult) -> Verdict:
    n_members = 0 if result.evidence is None else result.evidence.members
    return verdict_for(
        result.evidence,
        result.preflight,
        result.attack,
        result.instrument,
        max_leaked=n_members,
        max_readable=n_members,
        fail_on="any",
    )


def finding_doubt(finding: Finding, is_selected: bool) -> Doubt | None:
    """Why a measured finding is neither above its allowance nor confirmed within it; None where it is either."""
    if finding.status == "found" and not is_selected:
        return Doubt("not-selected", f"{finding.reason} fail_on does not name it, and it rules out no_leak_found.")
    if finding.status == "inconclusive":
        is_above = finding.interval_low > finding.allowance
        return Doubt("like-controls" if is_above else "allowance-not-confirmed", finding.reason)
    return None


def _incomplete(result: AuditResult) -> tuple[Doubt, ...]:
    if result.evidence is None:
        return ()
    shortfalls = shortfalls_of(result.preflight, result.attack)
    return (
        *(Doubt("unfit-reference", sentence) for sentence in unfit_reference(result.evidence, result.preflight)),
        *(Doubt("attack-incomplete", sentence) for sentence in shortfalls),
        *(Doubt("unexplained", sentence) for sentence in unexplained(result.evidence, result.attack)),
    )


def _instrument(result: AuditResult) -> tuple[Doubt, ...]:
    codes: dict[str, Code] = {"failed": "instrument-failed", "not_run": "instrument-not-run"}
    states = {"positive": result.instrument.positive_control, "negative": result.instrument.negative_control}
    return tuple(
        Doubt(codes[state], f"The {name} control of the instrument {'failed' if state == 'failed' else 'was not run'}.")
        for name, state in states.items()
        if state != "passed"
    )


def _attack(result: AuditResult) -> tuple[Doubt, ...]:
    doubts: list[Doubt] = []
    if result.attack.interrupted:
        doubts.append(Doubt("interrupted", "The attack was interrupted before its budget was used."))
    if budget_saturated(result.attack.budget_curve) is False:
        doubts.append(Doubt("budget-not-saturated", "The attack was still finding new records when its budget ended."))
    return tuple(doubts)


def _nothing_run(result: AuditResult) -> tuple[Doubt, ...]:
    if not result.preflight.applicable or result.attack.steps > 0:
        return ()
    return (Doubt("nothing-run", "The attack applies to this network and not one step of it was run."),)
