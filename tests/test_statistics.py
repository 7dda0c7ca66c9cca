"""Statistics against slow-but-obvious references and known values."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.statistics import (
    auc,
    counts_interval,
    detection_curve,
    exchangeability_p_value,
    lower_bound_beyond_chance,
    quantile_threshold,
)

scores = st.lists(st.floats(-10, 10, allow_nan=False), max_size=400)
rates = st.floats(0.001, 0.5)


def test_none_of_fifty_has_the_known_upper_bound() -> None:
    bounds = counts_interval(0, 50)
    assert bounds.low == 0
    assert bounds.high == pytest.approx(50 * (1 - 0.025 ** (1 / 50)))


def test_interval_is_the_one_at_which_the_tails_are_two_and_a_half_percent() -> None:
    k, n = 7, 30
    bounds = counts_interval(k, n)

    def tail(p: float, counts: range) -> float:
        return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in counts)

    assert tail(bounds.low / n, range(k, n + 1)) == pytest.approx(0.025)
    assert tail(bounds.high / n, range(k + 1)) == pytest.approx(0.025)


@given(st.integers(0, 600), st.data())
def test_interval_contains_the_count_and_stays_within_the_set(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    bounds = counts_interval(k, n)
    assert 0 <= bounds.low <= k <= bounds.high <= n


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="k=4, n=3"):
        counts_interval(4, 3)
    with pytest.raises(ValueError, match="5 of 3 members"):
        exchangeability_p_value(5, 3, 0, 1)


@given(st.integers(1, 200), rates)
def test_what_chance_alone_gives_is_not_beyond_chance(n: int, fpr: float) -> None:
    assert lower_bound_beyond_chance(math.floor(n * fpr), n, fpr) == 0


def test_p_value_is_the_hypergeometric_tail() -> None:
    found, members, controls_found, controls = 3, 5, 1, 8
    total, drawn = members + controls, found + controls_found
    tail = sum(
        Fraction(math.comb(members, i) * math.comb(controls, drawn - i), math.comb(total, drawn))
        for i in range(found, min(members, drawn) + 1)
    )
    assert exchangeability_p_value(found, members, controls_found, controls) == pytest.approx(float(tail))


def test_p_value_needs_both_groups() -> None:
    assert exchangeability_p_value(0, 0, 0, 10) is None
    assert exchangeability_p_value(3, 10, 0, 0) is None


@given(scores, scores)
def test_auc_is_the_share_of_pairs(members: list[float], controls: list[float]) -> None:
    pairs = [(m < c) + 0.5 * (m == c) for m in members[:20] for c in controls[:20]]
    expected = sum(pairs) / len(pairs) if pairs else None
    assert auc(members[:20], controls[:20]) == (None if expected is None else pytest.approx(expected))


@given(scores, rates)
def test_threshold_lets_at_most_the_rate_through(controls: list[float], fpr: float) -> None:
    threshold = quantile_threshold(controls, fpr)
    if threshold.value is None:
        assert len(controls) < 1 / fpr
        assert str(len(controls)) in threshold.reason
    else:
        above = sum(score > threshold.value for score in controls)
        assert above == threshold.n_above
        assert above <= math.floor(fpr * len(controls))


def test_threshold_holds_for_fresh_controls() -> None:
    """Share of fresh non-members above it; the mean over 2,000 sets of 100 is 1/101 when scores are continuous.

    False-alarm rate: the mean's standard error is 0.01 / sqrt(2000) = 0.00022; the bound is 5 of them away.
    """
    generator = np.random.default_rng(0)
    exceeded = [1 - (quantile_threshold(generator.random(100), 0.01).value or 0) for _ in range(2000)]
    assert np.mean(exceeded) < 0.01 + 5 * 0.00022


def test_rounding_of_products_does_not_lose_a_control() -> None:
    assert quantile_threshold(range(99), 0.29).value == 98 - 28


def test_bad_scores_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        quantile_threshold([0.0, float("nan")], 0.1)
    with pytest.raises(ValueError, match="false-positive rate"):
        quantile_threshold([0.0], 1.0)


@given(scores, scores)
def test_detection_curve_counts_what_is_strictly_above(members: list[float], controls: list[float]) -> None:
    false_rates, true_rates, thresholds = detection_curve(members, controls)
    if not members or not controls:
        assert not thresholds
    for false_rate, true_rate, threshold in zip(false_rates, true_rates, thresholds, strict=True):
        assert false_rate == pytest.approx(np.mean(np.array(controls) > threshold))
        assert true_rate == pytest.approx(np.mean(np.array(members) > threshold))
