"""Intervals, exact tests and thresholds behind the verdict.

In: counts and score arrays. Out: numbers, or None with a reason where the data cannot carry one. numpy and scipy only;
must know neither results, files nor torch. `scipy.stats` takes half a second to load, so that only tests that need it
do, when they run: a gate needs none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

ROUNDING = 1e-9
"""Absorbs binary rounding of products such as 0.29 * 100 = 28.999999999999996 before `floor`; far below one count."""


TWO_LOOKS = 0.975
"""Confidence of each of two bounds of which the better one is taken, so that it holds at 95 % (Bonferroni)."""


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
        rank: `value` is the rank-th largest score; 0 where it is None.
    """

    value: float | None
    n_above: int
    reason: str
    rank: int = 0


@dataclass(frozen=True)
class CrossFitted:
    """Scores judged by thresholds that they had no part in.

    Attributes:
        found: how many of the `n` scores exceed the threshold of the other folds.
        n: scores judged.
        folds: parts they were split into.
        fpr: rate that the thresholds stand for, in (0, 1).
    """

    found: int
    n: int
    folds: int
    fpr: float

    @property
    def expected(self) -> float:
        """Scores found by chance alone where all are exchangeable."""
        return self.n * self.fpr


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
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return CountsInterval(min(low * n, float(k)), max(high * n, float(k)))


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
    from scipy import stats

    table = [[members_found, members - members_found], [controls_found, controls - controls_found]]
    return min(1.0, float(stats.fisher_exact(table, alternative="greater")[1]))


def precedence_p_value(members_found: int, members: int, rank: int, controls: int) -> float | None:
    """Exact test of exchangeability where the threshold itself is a score of the controls.

    Of members and controls in falling order, the number of members before the `rank`-th control is negative
    hypergeometric if all are exchangeable (Nelson 1963; Balakrishnan & Ng, Precedence-Type Tests, 2006). Fisher's
    test takes the threshold as given, which one of the controls is not; at rank 1 the two agree.

    Args:
        members_found: members strictly above the `rank`-th largest control, or above a higher threshold.
        members: how many there are.
        rank: of the control that is the threshold, 1 the largest.
        controls: how many there are.

    Returns:
        p in [0, 1], or None where either group is empty.

    Raises:
        ValueError: members_found outside [0, members] or rank outside [1, controls].
    """
    if members == 0 or controls == 0:
        return None
    if not (0 <= members_found <= members and 1 <= rank <= controls):
        raise ValueError(
            f"expected counts within their groups, found {members_found} of {members} members and rank {rank} of "
            f"{controls} controls"
        )
    from scipy import stats

    return min(1.0, float(stats.nhypergeom.sf(members_found - 1, members + controls, members, rank)))


def monte_carlo_p_value(value: float, draws: ArrayLike) -> float:
    """Exact chance that `value` is as large as it is if it were one more of `draws` (Phipson & Smyth 2010).

    Returns:
        (1 + number of draws that reach it) / (1 + number of draws), in (0, 1].
    """
    drawn = _scores(draws)
    return float(1 + np.count_nonzero(drawn >= value)) / (1 + len(drawn))


def conformal_p_values(scores: ArrayLike, nulls: ArrayLike) -> NDArray[np.float64]:
    """For each score the chance that one more score like `nulls` reaches it (Vovk et al. 2005).

    Returns:
        (N,) each (1 + number of nulls at or above it) / (1 + number of nulls), in (0, 1].
    """
    null = np.sort(_scores(nulls))
    reached: NDArray[np.int64] = len(null) - np.searchsorted(null, _scores(scores), side="left")
    return np.asarray((1.0 + reached) / (1.0 + len(null)), dtype=np.float64)


def false_discovery_q_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini & Hochberg 1995: the smallest false-discovery rate at which each record would be among the found."""
    values = _scores(p_values)
    if not len(values):
        return values
    from scipy import stats

    adjusted: NDArray[np.float64] = stats.false_discovery_control(values, method="bh")
    return adjusted


def halves(n: int, seed: int) -> NDArray[np.int64]:
    """(n,) 0 or 1 at random, as many of each, give or take one.

    Two folds: the more there are, the more of one another's scores their thresholds share, and the less a count says.
    """
    return (np.random.default_rng(seed).permutation(n) % 2).astype(np.int64)


def cross_fitted(scores: ArrayLike, fpr: float, fold: ArrayLike, at_least: float = -np.inf) -> CrossFitted:
    """Judge every score by the threshold of the scores in the other folds.

    A threshold that the same scores set is exceeded by as many of them as its rate says, whatever they are: that count
    says nothing. This one does. Where the other folds are too few for the rate, their largest score is the threshold
    and the rate is the one that it stands for.

    Args:
        scores: (n,) of controls, higher is more suspicious.
        fpr: stated rate in (0, 1).
        fold: (n,) whole numbers.
        at_least: thresholds are never below it (the placebo's quantile).
    """
    values, folds = _scores(scores), np.asarray(fold).ravel()
    found, rates, names = 0, [], np.unique(folds)
    for name in names:
        others = np.sort(values[folds != name])[::-1]
        if not len(others):
            continue
        rank = max(1, floor(fpr * (len(others) + 1) + ROUNDING))
        found += int(np.count_nonzero(values[folds == name] > max(float(others[rank - 1]), at_least)))
        rates.append(np.count_nonzero(folds == name) * rank / (len(others) + 1))
    return CrossFitted(found, len(values), len(names), float(sum(rates)) / max(len(values), 1))


def auc(member_distance: ArrayLike, control_distance: ArrayLike) -> float | None:
    """Chance that a random member lies nearer (smaller distance) than a random control, ties counted half.

    Returns:
        in [0, 1], 0.5 is guessing; None where either group is empty.
    """
    members, controls = _scores(member_distance), _scores(control_distance)
    if len(members) == 0 or len(controls) == 0:
        return None
    from scipy import stats

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
    return QuantileThreshold(value, int(np.count_nonzero(scores > value)), "", rank)


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
