"""From counts to a decision: leak found, no leak found, or inconclusive with every reason.

In: two measured findings (rebuilt, membership), the state of the instrument, what the user allows. Out: a `Verdict`.
Pure Python over the result schema; must not know tensors, files or torch, because `gate` runs where only Python is.

The rule. For a finding with k of n records above a threshold of stated false-positive rate:
    lower = max(0, Clopper-Pearson low - n * fpr)   leaks beyond chance; decides `leak_found`. For rebuilt images the
                                                    better of two bounds, at the stated rate and above every control and
                                                    placebo score, each at 97.5 % confidence
    upper = Clopper-Pearson high                    chance is not subtracted, records set aside for a mean image are
                                                    counted; decides `no_leak_found`
A finding is `found` when lower > allowance and both exact tests say so (p at most 0.01): members are not exchangeable
with controls (for rebuilt images the better of two p-values, doubled), and the reconstructions are not one more set of
unoptimised draws; `not_found` when upper <= allowance,
and inconclusive between. Because 0 of 50 still has an upper bound of 3.6 records, an allowance of 0 cannot be confirmed
by any sample; the verdict then names the smallest allowance that the data support (here 4).
The tests apply at every allowance, so that raising an allowance never makes a verdict worse. docs/evidence.md has the
measured rate of `leak_found` where there is nothing to find.
"""

from math import ceil
from typing import Literal

from privaudit.coverage import shortfalls_of, unexplained, unfit_reference
from privaudit.errors import ExitCode
from privaudit.findings import FindingInput, membership_input, rebuilt_input
from privaudit.result import (
    Attack,
    BudgetPoint,
    Evidence,
    Finding,
    Instrument,
    Preflight,
    Verdict,
    VerdictStatus,
)
from privaudit.statistics import ROUNDING

P_VALUE_LIMIT = 0.01
"""Members and controls count as different up to this exact p-value (PRODUCT.md, "Verdict and exit codes")."""

SATURATION_SHARE = 2 / 3
"""A budget is saturated when the last third of it found nothing new (METHOD 3d: rounds saturate after two or three)."""

FailOn = Literal["rebuilt", "membership", "any"]

PREDICATE = {"rebuilt": "rebuilt", "membership": "readable as members"}
ALLOWANCE_OPTION = {"rebuilt": "--max-leaked", "membership": "--max-readable"}


def decide(
    rebuilt: FindingInput,
    membership: FindingInput,
    *,
    fail_on: FailOn,
    instrument: Instrument,
    interrupted: bool,
    is_budget_saturated: bool | None = None,
    shortfalls: tuple[str, ...] = (),
) -> Verdict:
    """Apply the rule of this module's docstring.

    Args:
        rebuilt: the first finding.
        membership: the second one; it may be `not_applicable` without standing in the way of `no_leak_found`.
        fail_on: which findings make `leak_found`. `no_leak_found` always needs both.
        instrument: a control that failed means that the instrument cannot be trusted, and rules out both; one that did
            not run rules out `no_leak_found`.
        interrupted: whether the attack was stopped before its budget; rules out `no_leak_found` only.
        is_budget_saturated: False rules out `no_leak_found`; None where it was not measured.
        shortfalls: sentences about planned work that was not done; any rules out `no_leak_found`.
    """
    findings = (_judge(rebuilt), _judge(membership))
    named = [f for f in findings if f.status == "found" and fail_on in (f.name, "any")]
    doubts = _doubts(findings, instrument, interrupted, is_budget_saturated) + list(shortfalls)
    status: VerdictStatus
    if named and "failed" not in (instrument.positive_control, instrument.negative_control):
        status, reasons = "leak_found", tuple(f.reason for f in named)
    elif doubts:
        status, reasons = "inconclusive", tuple(doubts)
    else:
        status, reasons = "no_leak_found", tuple(f.reason for f in findings)
    return Verdict(
        status=status,
        reasons=reasons,
        max_leaked=rebuilt.allowance,
        max_readable=membership.allowance,
        fail_on=fail_on,
        findings=findings,
    )


def verdict_for(
    evidence: Evidence | None,
    preflight: Preflight,
    attack: Attack,
    instrument: Instrument,
    *,
    max_leaked: int,
    max_readable: int,
    fail_on: FailOn,
) -> Verdict:
    """`decide` on what a scan stored; the scan and the gate both come through here."""
    shortfalls: tuple[str, ...] = ()
    if evidence is not None:
        shortfalls = (
            *unfit_reference(evidence, preflight),
            *shortfalls_of(preflight, attack),
            *unexplained(evidence, attack),
        )
    return decide(
        rebuilt_input(evidence, preflight, max_leaked),
        membership_input(evidence, max_readable),
        fail_on=fail_on,
        instrument=instrument,
        interrupted=attack.interrupted,
        is_budget_saturated=budget_saturated(attack.budget_curve),
        shortfalls=shortfalls,
    )


def exit_code(verdict: Verdict, exit_zero: bool = False, interrupted: bool = False) -> ExitCode:
    """What the process returns.

    Args:
        verdict: the decision.
        exit_zero: report only; a verdict, whatever it is, does not fail the pipeline. Errors still do (they never come
            here), and so does an interruption.
        interrupted: whether this very run was stopped by the user.
    """
    if interrupted:
        return ExitCode.INTERRUPTED
    if exit_zero:
        return ExitCode.NO_LEAK_FOUND
    return {
        "no_leak_found": ExitCode.NO_LEAK_FOUND,
        "leak_found": ExitCode.LEAK_FOUND,
        "inconclusive": ExitCode.INCONCLUSIVE,
    }[verdict.status]


def budget_saturated(curve: tuple[BudgetPoint, ...]) -> bool | None:
    """Whether the last third of the attack's time found no further record; None with fewer than two points."""
    if len(curve) < 2:
        return None
    points = sorted(curve, key=lambda point: point.seconds)
    early = [p.members_calibrated for p in points if p.seconds <= SATURATION_SHARE * points[-1].seconds]
    return (early[-1] if early else 0) >= points[-1].members_calibrated


def supported_allowance(interval_high: float) -> int:
    """The smallest whole allowance with which the data would support `no_leak_found`."""
    return ceil(interval_high - ROUNDING)


def _judge(finding: FindingInput) -> Finding:
    """Status and one sentence for one finding."""
    status: Literal["found", "not_found", "inconclusive", "not_applicable", "not_run"]
    if finding.state == "measured":
        status, reason = _compare(finding)
    else:
        status = "inconclusive" if finding.state == "uncalibrated" else finding.state
        reason = finding.reason
    return Finding(
        name=finding.name,
        status=status,
        count=finding.count,
        interval_low=finding.interval_low,
        interval_high=finding.interval_high,
        allowance=finding.allowance,
        reason=reason,
        total=finding.total,
        threshold=finding.threshold,
        fpr=finding.fpr,
        p_value=finding.p_value,
    )


def _compare(finding: FindingInput) -> tuple[Literal["found", "not_found", "inconclusive"], str]:
    """The two bounds against the allowance, in words."""
    allowed = finding.allowance
    counted = f"{finding.count} of {finding.total} records {PREDICATE[finding.name]}"
    if finding.n_set_aside:
        counted += f" and {finding.n_set_aside} more set aside, because a mean image is as near to what was rebuilt"
    chance = _tests_text(finding)
    if finding.interval_low > allowed:
        if finding.p_value is not None and finding.p_value > P_VALUE_LIMIT:
            needed = f"p of at most {P_VALUE_LIMIT} is needed"
            return "inconclusive", f"{counted}, but members cannot be told from controls{chance}; {needed}."
        if finding.placebo_p_value is not None and finding.placebo_p_value > P_VALUE_LIMIT:
            needed = f"p of at most {P_VALUE_LIMIT} is needed"
            return "inconclusive", (
                f"{counted}, but unoptimised draws from the same search space resemble them as much{chance}; {needed}."
            )
        beyond = f"at 95 % confidence at least {finding.interval_low:.1f} beyond chance"
        return "found", f"{counted}; {beyond}, above the allowance of {allowed}{chance}."
    if finding.interval_high <= allowed:
        return "not_found", (
            f"{counted}; at 95 % confidence at most {finding.interval_high:.1f}, within the allowance of {allowed}."
        )
    option = ALLOWANCE_OPTION[finding.name]
    return "inconclusive", (
        f"{counted}; at 95 % confidence between {finding.interval_low:.1f} beyond chance and "
        f"{finding.interval_high:.1f} "
        f"in all, so an allowance of {allowed} is neither exceeded nor confirmed. These data support an allowance of "
        f"{supported_allowance(finding.interval_high)} or more ({option})."
    )


def _tests_text(finding: FindingInput) -> str:
    """What was tested, in parentheses; empty where nothing was."""
    tests = []
    if finding.p_value is not None:
        tests.append(f"exact test of members against controls: {_p_text(finding.p_value)}")
    if finding.placebo_p_value is not None:
        tests.append(f"against unoptimised draws: {_p_text(finding.placebo_p_value)}")
    return f" ({'; '.join(tests)})" if tests else ""


def _p_text(value: float) -> str:
    """Small p-values by their order only; the exact one is in the result."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def _doubts(
    findings: tuple[Finding, Finding], instrument: Instrument, interrupted: bool, is_budget_saturated: bool | None
) -> list[str]:
    """Everything that stands in the way of `no_leak_found`, each as a sentence."""
    rebuilt, membership = findings
    doubts = [] if rebuilt.status == "not_found" else [rebuilt.reason]
    if membership.status not in ("not_found", "not_applicable"):
        doubts.append(membership.reason)
    doubts += _instrument_doubts(instrument)
    if interrupted:
        doubts.append("The attack was interrupted before its budget was used; --resume continues it.")
    if is_budget_saturated is False:
        doubts.append(
            "The attack was still finding new records when its budget ended; a larger --budget may find more."
        )
    return doubts


def _instrument_doubts(instrument: Instrument) -> list[str]:
    """A sentence for each control that failed or did not run, with the reason where one is known."""
    sentences = {
        ("positive", "failed"): "The positive control failed: the attack missed leaks that are known to be there.",
        ("positive", "not_run"): (
            "The positive control was not run, so it is not known whether the attack would have found a leak."
        ),
        ("negative", "failed"): "The negative control failed: the attack reported leaks in a model that has none.",
        ("negative", "not_run"): (
            "The negative control was not run, so it is not known whether the attack invents leaks."
        ),
    }
    states = (("positive", instrument.positive_control), ("negative", instrument.negative_control))
    doubts = [sentences[state] for state in states if state in sentences]
    if doubts and instrument.reason:
        doubts[-1] = f"{doubts[-1]} {instrument.reason}"
    return doubts
