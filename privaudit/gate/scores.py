"""Counts and quantiles of the scores that a result lists, with the rounding that they were listed with.

In: sequences of numbers, or evidence. Out: ranges that a stated count must lie in, and the p-value of one.
"""

from collections.abc import Sequence
from math import floor

from privaudit.result_evidence import Evidence
from privaudit.statistics import ROUNDING, exchangeability_p_value, precedence_p_value, quantile_threshold

ROUNDED = 0.5e-4 + 1e-9
"""Half a unit of the last place of listed scores, which have four digits (`privaudit.evidence`)."""


def count_range(scores: Sequence[float], threshold: float) -> tuple[int, int]:
    """Fewest and most of these rounded scores that can lie strictly above a threshold."""
    return (
        sum(score - ROUNDED > threshold for score in scores),
        sum(score + ROUNDED > threshold for score in scores),
    )


def count_below(scores: Sequence[float], threshold: float) -> tuple[int, int]:
    """Fewest and most that can lie strictly below."""
    return (
        sum(score + ROUNDED < threshold for score in scores),
        sum(score - ROUNDED < threshold for score in scores),
    )


def quantile_problem(scores: Sequence[float], fpr: float, stated: float, n_listed: int) -> str:
    """What contradicts a quantile at the rate `fpr`; empty where nothing does.

    Args:
        scores: as listed; `n_listed` of them are evenly spaced quantiles of more.
        fpr: in (0, 1).
        stated: the quantile.
        n_listed: most scores that a result lists.
    """
    if not scores:
        return "no scores that it is a quantile of"
    if len(scores) < n_listed:
        exact = quantile_threshold(scores, fpr).value
        expected = max(scores) if exact is None else exact  # too few for the rate: the largest stands in
        return "" if abs(stated - expected) <= 2 * ROUNDED else f"scores whose quantile is {expected:.4f}"
    ordered = sorted(scores)
    place = floor((1 - fpr) * (len(ordered) - 1) + ROUNDING)
    lowest, highest = ordered[max(place - 2, 0)], ordered[min(place + 3, len(ordered) - 1)]
    if lowest - 2 * ROUNDED <= stated <= highest + 2 * ROUNDED:
        return ""
    return f"scores whose quantile lies between {lowest:.4f} and {highest:.4f}"


def supports(scores: Sequence[float], fpr: float) -> bool:
    """Whether so many scores of controls carry a threshold at this rate."""
    return 0 < fpr < 1 and bool(scores) and quantile_threshold(scores, fpr).value is not None


def p_value_of(evidence: Evidence, name: str, k: int, n: int) -> float | None:
    """The exact test of k of n records against the controls, chosen as `privaudit.calibration` chooses it.

    A threshold that the placebo sets is independent of the controls' scores; one that they set themselves is not.

    Args:
        evidence: whose controls and threshold apply.
        name: `rebuilt` or `membership`.
        k: records that count, of `n`.
    """
    calibrated, n_controls = evidence.calibrated_threshold, evidence.controls
    fpr = calibrated.fpr if name == "rebuilt" else evidence.membership.fpr
    quantile = calibrated.control_quantile
    is_placebo_higher = quantile is not None and calibrated.ssim is not None and calibrated.ssim > quantile
    if name == "rebuilt" and is_placebo_higher:
        return exchangeability_p_value(k, n, calibrated.controls_leaked, n_controls)
    rank = min(max(1, floor(fpr * (n_controls + 1) + ROUNDING)), max(n_controls, 1))
    return precedence_p_value(k, n, rank, n_controls)
