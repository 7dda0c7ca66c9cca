"""The two findings as counts and bounds, read off a stored result: what the verdict's rule is applied to.

In: evidence and preflight of a result. Out: `FindingInput`. Pure Python over the schema, like `privaudit.verdict`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from privaudit.result import Evidence, Preflight, StrictestThreshold
from privaudit.statistics import TWO_LOOKS, counts_interval, lower_bound_beyond_chance

FindingState = Literal["measured", "uncalibrated", "not_applicable", "not_run"]

_REASONS_TOLD = 3
"""Of preflight, in the verdict: the spectrum and what follows for both attacks; all of them are in the report."""


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
        placebo_p_value: exact test that the reconstructions are one more set of draws; None where none was made.
        threshold: SSIM above it or distance below it; None where nothing was measured, like `fpr`, its stated rate.
        n_set_aside: records beyond the threshold that a mean image explains as well; only the upper bound counts them.
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
    placebo_p_value: float | None = None
    threshold: float | None = None
    fpr: float | None = None
    n_set_aside: int = 0


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
    k, n, fpr = calibrated.members_leaked, evidence.members, calibrated.fpr
    measured = _measured("rebuilt", k, n, fpr, allowance, calibrated.p_value)
    aside = min(calibrated.members_set_aside, n - k)
    high = counts_interval(k + aside, n).high if n else 0.0
    looked = _second_look(measured, calibrated.strictest, fpr, calibrated.ssim)
    looked = replace(looked, interval_high=high, n_set_aside=aside)
    return replace(looked, placebo_p_value=calibrated.placebo_p_value, threshold=calibrated.ssim)


def _second_look(
    measured: FindingInput, strictest: StrictestThreshold | None, fpr: float, calibrated: float
) -> FindingInput:
    """The better of two lower bounds and of two p-values, each corrected for there being two.

    Of 500 records ten are what chance gives at 1 %, and ten rebuilt images would not be found by that threshold alone.
    Above every control and every placebo score chance gives about one.
    """
    if strictest is None or measured.state != "measured" or measured.p_value is None or strictest.p_value is None:
        return measured
    if strictest.ssim <= calibrated:  # few controls: the stated rate already takes the largest, and there is one look
        return measured
    stated = lower_bound_beyond_chance(measured.count, measured.total, fpr, TWO_LOOKS)
    return replace(
        measured,
        interval_low=max(stated, strictest.interval_low),
        p_value=min(1.0, 2 * min(measured.p_value, strictest.p_value)),
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
    measured = _measured("membership", found, evidence.members, membership.fpr, allowance, membership.p_value)
    return replace(measured, threshold=membership.threshold)


def _measured(
    name: Literal["rebuilt", "membership"], k: int, n: int, fpr: float, allowance: int, p_value: float | None
) -> FindingInput:
    if n == 0:
        return _unmeasured(name, "not_run", allowance, "The reference holds no images, so nothing was compared.")
    low, high = lower_bound_beyond_chance(k, n, fpr), counts_interval(k, n).high
    return FindingInput(name, "measured", k, n, low, high, allowance, p_value, "", fpr=fpr)


def _unmeasured(
    name: Literal["rebuilt", "membership"], state: FindingState, allowance: int, reason: str, total: int = 0
) -> FindingInput:
    return FindingInput(name, state, 0, total, 0.0, float(total), allowance, None, reason)
