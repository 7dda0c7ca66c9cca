"""From counts to a decision: leak found, no leak found, or inconclusive with every reason.

In: two measured findings (rebuilt, membership), the state of the instrument, what the user allows. Out: a `Verdict`.
Pure Python over the result schema; must not know tensors, files or torch, because `gate` runs where only Python is.

The rule. For a finding with k of n records above a threshold of stated false-positive rate:
    lower = max(0, Clopper-Pearson low - n * fpr)   leaks beyond chance; decides `leak_found`
    upper = Clopper-Pearson high                    chance is not subtracted; decides `no_leak_found`
A finding is `found` when lower > allowance and members are not exchangeable with controls (p < 0.01), `not_found` when
upper <= allowance, and inconclusive between. Because 0 of 50 still has an upper bound of 3.6 records, an allowance of 0
cannot be confirmed by any sample; the verdict then names the smallest allowance that the data support (here 4).
The p-value applies at every allowance, so that raising an allowance never makes a verdict worse.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from privaudit.coverage import shortfalls_of, unexplained
from privaudit.errors import ExitCode
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
from privaudit.statistics import ROUNDING, counts_interval, lower_bound_beyond_chance

P_VALUE_LIMIT = 0.01
"""Members and controls count as different below this exact p-value (PRODUCT.md, "Verdict and exit codes")."""

SATURATION_SHARE = 2 / 3
"""A budget is saturated when the last third of it found nothing new (METHOD 3d: rounds saturate after two or three)."""

_REASONS_TOLD = 3
"""Of preflight, in the verdict: the spectrum and what follows for both attacks; all of them are in the report."""

FailOn = Literal["rebuilt", "membership", "any"]
FindingState = Literal["measured", "uncalibrated", "not_applicable", "not_run"]

PREDICATE = {"rebuilt": "rebuilt", "membership": "readable as members"}
ALLOWANCE_OPTION = {"rebuilt": "--max-leaked", "membership": "--max-readable"}


@dataclass(frozen=True)
class FindingInput:
    """One finding before the decision.

    Attributes:
        name: which of the two.
        state: `measured`; `uncalibrated` when no false-positive rate can be given; `not_applicable`; `not_run`.
        count: records above the threshold, `total` records examined.
        interval_low: lower 95 % bound on records found beyond chance, in records.
        interval_high: upper 95 % bound on records found, in records.
        allowance: records the user accepts.
        p_value: exact test of exchangeability with controls, None where there were none.
        reason: why the state is not `measured`; empty otherwise.
    """

    name: Literal["rebuilt", "membership"]
    state: FindingState
    count: int
    total: int
    interval_low: float
    interval_high: float
    allowance: int
    p_value: float | None
    reason: str


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
        instrument: a failed negative control means that the instrument sees leaks where there are none, so it rules out
            `leak_found`; a positive control that failed or did not run rules out `no_leak_found`.
        interrupted: whether the attack was stopped before its budget; rules out `no_leak_found` only.
        is_budget_saturated: False rules out `no_leak_found`; None where it was not measured.
        shortfalls: sentences about planned work that was not done; any rules out `no_leak_found`.
    """
    findings = (_judge(rebuilt), _judge(membership))
    named = [f for f in findings if f.status == "found" and fail_on in (f.name, "any")]
    doubts = _doubts(findings, instrument, interrupted, is_budget_saturated) + list(shortfalls)
    status: VerdictStatus
    if named and instrument.negative_control != "failed":
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
    return decide(
        rebuilt_input(evidence, preflight, max_leaked),
        membership_input(evidence, max_readable),
        fail_on=fail_on,
        instrument=instrument,
        interrupted=attack.interrupted,
        is_budget_saturated=budget_saturated(attack.budget_curve),
        shortfalls=(*shortfalls_of(preflight, attack), *unexplained(evidence, attack)) if evidence is not None else (),
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


def rebuilt_input(evidence: Evidence | None, preflight: Preflight, allowance: int) -> FindingInput:
    """The first finding from stored counts."""
    if not preflight.applicable:
        why = preflight.reasons[:_REASONS_TOLD]
        reason = " ".join(("The reconstruction attack does not apply to this checkpoint.", *why))
        return _unmeasured("rebuilt", "not_applicable", allowance, reason)
    if evidence is None:
        reason = "No reference images were given, so rebuilt pictures could not be compared with training images."
        return _unmeasured("rebuilt", "not_run", allowance, reason)
    calibrated = evidence.calibrated_threshold
    if calibrated.ssim is None:
        reason = f"No false-positive rate can be given for rebuilt records. {calibrated.reason}".strip()
        return _unmeasured("rebuilt", "uncalibrated", allowance, reason, evidence.members)
    return _measured(
        "rebuilt", calibrated.members_leaked, evidence.members, calibrated.fpr, allowance, calibrated.p_value
    )


def membership_input(evidence: Evidence | None, allowance: int) -> FindingInput:
    """The second finding from stored counts."""
    if evidence is None:
        reason = "No reference images were given, so membership could not be tested."
        return _unmeasured("membership", "not_run", allowance, reason)
    membership = evidence.membership
    if not membership.applicable:
        reason = f"The membership test does not apply to this checkpoint. {membership.reason}".strip()
        return _unmeasured("membership", "not_applicable", allowance, reason, evidence.members)
    if membership.threshold is None:
        reason = f"No false-positive rate can be given for membership. {membership.reason}".strip()
        return _unmeasured("membership", "uncalibrated", allowance, reason, evidence.members)
    found = membership.members_found
    return _measured("membership", found, evidence.members, membership.fpr, allowance, membership.p_value)


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


def _measured(
    name: Literal["rebuilt", "membership"], k: int, n: int, fpr: float, allowance: int, p_value: float | None
) -> FindingInput:
    if n == 0:
        return _unmeasured(name, "not_run", allowance, "The reference holds no images, so nothing was compared.")
    low, high = lower_bound_beyond_chance(k, n, fpr), counts_interval(k, n).high
    return FindingInput(name, "measured", k, n, low, high, allowance, p_value, "")


def _unmeasured(
    name: Literal["rebuilt", "membership"], state: FindingState, allowance: int, reason: str, total: int = 0
) -> FindingInput:
    return FindingInput(name, state, 0, total, 0.0, float(total), allowance, None, reason)


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
    )


def _compare(finding: FindingInput) -> tuple[Literal["found", "not_found", "inconclusive"], str]:
    """The two bounds against the allowance, in words."""
    allowed = finding.allowance
    counted = f"{finding.count} of {finding.total} records {PREDICATE[finding.name]}"
    chance = "" if finding.p_value is None else f" (exact test of members against controls: {_p_text(finding.p_value)})"
    if finding.interval_low > allowed:
        if finding.p_value is None or finding.p_value < P_VALUE_LIMIT:
            beyond = f"at 95 % confidence at least {finding.interval_low:.1f} beyond chance"
            return "found", f"{counted}; {beyond}, above the allowance of {allowed}{chance}."
        return "inconclusive", (
            f"{counted}, but members cannot be told from controls{chance}; p below {P_VALUE_LIMIT} is needed."
        )
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
    if instrument.positive_control == "failed":
        doubts.append("The positive control failed: the attack missed leaks that are known to be there.")
    if instrument.positive_control == "not_run":
        doubts.append(
            "The positive control was not run, so it is not known whether the attack would have found a leak."
        )
    if instrument.negative_control == "failed":
        doubts.append("The negative control failed: the attack reported leaks in a model that cannot have any.")
    if instrument.negative_control == "not_run":
        doubts.append("The negative control was not run, so it is not known whether the attack invents leaks.")
    if interrupted:
        doubts.append("The attack was interrupted before its budget was used; --resume continues it.")
    if is_budget_saturated is False:
        doubts.append(
            "The attack was still finding new records when its budget ended; a larger --budget may find more."
        )
    return doubts
