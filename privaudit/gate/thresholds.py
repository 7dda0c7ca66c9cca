"""Whether the thresholds on SSIM are those of the scores that a result lists.

In: evidence. Out: what contradicts itself, in words. Part of `privaudit.gate.consistency`.
"""

from collections.abc import Iterator

from privaudit.gate.scores import ROUNDED, count_range, quantile_problem, strictest_of
from privaudit.result import Evidence
from privaudit.statistics import TWO_LOOKS, lower_bound_beyond_chance
from privaudit.verdict import P_VALUE_LIMIT

BOUND = 1e-6
"""Records by which two intervals of the same counts may differ: rounding, far below one record."""

_RELATIVE = 1e-6
SCORES_LISTED = 2000
"""Of each kind, at most, in a result (`privaudit.evidence`); beyond that quantiles are listed."""


def is_same(one: float | None, other: float | None) -> bool:
    """Two p-values, but for rounding."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _RELATIVE * max(one, other) + 1e-300


def listing_problems(evidence: Evidence) -> Iterator[str]:
    """Whether there are as many scores of controls as controls."""
    expected = min(evidence.controls, SCORES_LISTED)
    listed = evidence.distributions
    if len(listed.control_ssim) != expected:
        yield f"{evidence.controls} controls and {len(listed.control_ssim)} scores of controls"
    for name, scores in (("membership", listed.membership_control), ("multiplier", listed.multiplier_control)):
        if len(scores) not in (0, expected):
            yield f"{evidence.controls} controls and {len(scores)} {name} scores of controls"


def threshold_problems(evidence: Evidence) -> Iterator[str]:
    """The threshold is the larger of two quantiles, and those are of the listed scores."""
    calibrated, listed = evidence.calibrated_threshold, evidence.distributions
    assert calibrated.ssim is not None
    if calibrated.control_quantile is None or not listed.control_ssim:
        yield "a calibrated threshold without controls"
        return
    quantiles = (calibrated.control_quantile, calibrated.placebo_quantile)
    largest = max(value for value in quantiles if value is not None)
    if abs(calibrated.ssim - largest) > BOUND:
        yield f"a threshold of {calibrated.ssim:.4f} and quantiles of {largest:.4f} at most"
    for name, quantile, scores in (
        ("control", calibrated.control_quantile, listed.control_ssim),
        ("placebo", calibrated.placebo_quantile, listed.placebo_ssim),
    ):
        problem = "" if quantile is None else quantile_problem(scores, calibrated.fpr, quantile, SCORES_LISTED)
        if problem:
            yield f"a {name} quantile of {quantile:.4f}, and {problem}"
    if len(listed.control_ssim) == evidence.controls:
        low, high = count_range(listed.control_ssim, calibrated.ssim)
        if not low <= calibrated.controls_leaked <= high:
            yield f"{calibrated.controls_leaked} controls above the threshold and {high} such scores"


def strictest_problems(evidence: Evidence) -> Iterator[str]:
    """The second look is above every listed score, and counts what lies above it."""
    strictest, listed = evidence.calibrated_threshold.strictest, evidence.distributions
    if strictest is None:
        return
    nulls = [scores for scores in (listed.control_ssim, listed.placebo_ssim) if scores]
    largest = max(max(scores) for scores in nulls)
    if abs(strictest.ssim - largest) > 2 * ROUNDED:
        yield f"a strictest threshold of {strictest.ssim:.4f} and scores up to {largest:.4f}"
    if not 0 < strictest.fpr <= max(1 / (len(scores) + 1) for scores in nulls) + BOUND:
        yield f"a strictest threshold at a rate of {strictest.fpr}"
    found = sum(record.ssim > strictest.ssim and record.nearer_decoy is None for record in evidence.records)
    exact = lower_bound_beyond_chance(found, evidence.members, strictest.fpr, TWO_LOOKS)
    if strictest.members_leaked != found or abs(strictest.interval_low - exact) > BOUND:
        yield f"{strictest.members_leaked} records above the strictest threshold, and {found} of the list"
    if strictest.p_value is None or (strictest.p_value > P_VALUE_LIMIT / 2 and exact > 0):
        again = strictest_of(evidence, strictest, evidence.records).p_value
        if not is_same(strictest.p_value, again):
            yield f"a p-value of {strictest.p_value} for {found} records above the strictest threshold"
