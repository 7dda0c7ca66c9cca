"""Intervals, exact tests and thresholds behind the verdict.

In: counts and score arrays. Out: numbers, or None with a reason where the data cannot carry one. numpy and scipy only;
must know neither results, files nor torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ROUNDING = 1e-9
"""Absorbs binary rounding of products such as 0.29 * 100 = 28.999999999999996 before `floor`; far below one count."""


@dataclass(frozen=True)
class CountsInterval:
    """Clopper-Pearson bounds on a count, in records: 0 <= low <= k <= high <= n."""

    low: float
    high: float


@dataclass(frozen=True)
class QuantileThreshold:
    """A threshold on scores (higher is more suspicious; a record counts when its score is strictly above).

    Attributes:
        value: in the scores' unit, or None where too few scores were given.
        n_above: how many of the given scores lie above `value`; 0 where it is None.
        reason: one sentence; empty where `value` is a number.
    """

    value: float | None
    n_above: int
    reason: str


def counts_interval(k: int, n: int, confidence: float = 0.95) -> CountsInterval:
    """Exact two-sided interval on how many of `n` records would be found in a population like the sample.

    Clopper & Pearson 1934, scaled from a proportion to `n`. With k = 0 the upper bound is still above 0: 0 of 50 gives
    3.6 records at 95 %.

    Args:
        k: records found, 0 <= k <= n.
        n: records examined; 0 gives (0, 0), since nothing can be said about an empty set.
        confidence: in (0, 1).

    Raises:
        ValueError: k outside [0, n].
    """
    if not 0 <= k <= n:
        raise ValueError(f"expected 0 <= k <= n, found k={k}, n={n}")
    if n == 0:
        return CountsInterval(0.0, 0.0)
    bounds = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method="exact")
    return CountsInterval(min(float(bounds.low) * n, float(k)), max(float(bounds.high) * n, float(k)))


def lower_bound_beyond_chance(k: int, n: int, fpr: float, confidence: float = 0.95) -> float:
    """Lower bound on the records found beyond what the stated false-positive rate would produce, in records.

    `max(0, low - n * fpr)`. Chance is subtracted from the lower bound only: a rate of exceedances q contains the leaks
    p and at most `fpr` of the rest, so p >= q - fpr and p <= q. Subtracting it from the upper bound as well would claim
    that the false positives did happen, which a conservative threshold does not promise.
    """
    return max(0.0, counts_interval(k, n, confidence).low - n * fpr)


def exchangeability_p_value(members_found: int, members: int, controls_found: int, controls: int) -> float | None:
    """Fisher's exact one-sided test that members are found no more often than controls; small speaks for a leak.

    Returns:
        p in [0, 1], or None where either group is empty.

    Raises:
        ValueError: a count outside [0, size of its group].
    """
    if not (0 <= members_found <= members and 0 <= controls_found <= controls):
        raise ValueError(
            f"expected counts within their groups, found {members_found} of {members} members and "
            f"{controls_found} of {controls} controls"
        )
    if members == 0 or controls == 0:
        return None
    table = [[members_found, members - members_found], [controls_found, controls - controls_found]]
    return min(1.0, float(stats.fisher_exact(table, alternative="greater")[1]))


def auc(member_distance: ArrayLike, control_distance: ArrayLike) -> float | None:
    """Chance that a random member lies nearer (smaller distance) than a random control, ties counted half.

    Returns:
        in [0, 1], 0.5 is guessing; None where either group is empty.
    """
    members, controls = _scores(member_distance), _scores(control_distance)
    if len(members) == 0 or len(controls) == 0:
        return None
    ranks = stats.rankdata(np.concatenate([members, controls]))
    beaten = ranks[len(members) :].sum() - len(controls) * (len(controls) + 1) / 2
    return float(beaten / (len(members) * len(controls)))


def quantile_threshold(control_scores: ArrayLike, fpr: float) -> QuantileThreshold:
    """Threshold that a fresh non-member exceeds with probability at most `fpr`, from scores of non-members.

    It is the k-th largest score with `k = floor(fpr * (n + 1))`: of n + 1 exchangeable scores the new one is among the
    k largest with probability k / (n + 1) <= fpr (split conformal argument). So k - 1 <= floor(fpr * n) of the given
    scores lie strictly above. Use `-distance` for distances.

    Raises:
        ValueError: fpr outside (0, 1), or a score that is not finite.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"expected a false-positive rate in (0, 1), found {fpr}")
    scores = np.sort(_scores(control_scores))[::-1]
    rank = floor(fpr * (len(scores) + 1) + ROUNDING)
    if len(scores) * fpr < 1 - ROUNDING or rank < 1:
        needed = int(np.ceil(1 / fpr - ROUNDING))
        return QuantileThreshold(
            None, 0, f"A false-positive rate of {fpr:.3g} needs at least {needed} controls; there are {len(scores)}."
        )
    value = float(scores[rank - 1])
    return QuantileThreshold(value, int(np.count_nonzero(scores > value)), "")


def detection_curve(
    member_scores: ArrayLike, control_scores: ArrayLike
) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    """Every operating point of "score > threshold": false-positive rates, true-positive rates, thresholds.

    Scores are higher-better. Points are ordered by falling threshold, rates in [0, 1]. Empty where a group is empty.
    """
    members, controls = np.sort(_scores(member_scores)), np.sort(_scores(control_scores))
    if len(members) == 0 or len(controls) == 0:
        return (), (), ()
    thresholds = np.unique(np.concatenate([members, controls]))[::-1]
    above_members = 1 - np.searchsorted(members, thresholds, side="right") / len(members)
    above_controls = 1 - np.searchsorted(controls, thresholds, side="right") / len(controls)
    return above_controls.tolist(), above_members.tolist(), thresholds.tolist()


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    """One flat float64 array; refuses what is not finite."""
    scores = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(scores).all():
        raise ValueError("expected finite scores, found NaN or infinity")
    return scores
