"""Counts and quantiles of the scores that a result lists, with the rounding that they were listed with.

In: sequences of numbers. Out: ranges that a stated count must lie in. Must not know results.
"""

from collections.abc import Sequence
from math import floor

from privaudit.statistics import ROUNDING, quantile_threshold

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
