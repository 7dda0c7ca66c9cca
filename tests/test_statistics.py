"""Statistics against slow-but-obvious references and known values."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.statistics import (
    auc,
    conformal_p_values,
    counts_interval,
    cross_fitted,
    detection_curve,
    exchangeability_p_value,
    false_discovery_q_values,
    halves,
    lower_bound_beyond_chance,
    monte_carlo_p_value,
    precedence_p_value,
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


@pytest.mark.parametrize(
    ("found", "members", "rank", "controls"), [(3, 5, 1, 6), (2, 4, 3, 5), (0, 3, 2, 4), (5, 5, 4, 4)]
)
def test_precedence_p_value_is_the_share_of_orders(found: int, members: int, rank: int, controls: int) -> None:
    total = members + controls
    orders = list(itertools.combinations(range(total), controls))  # places of the controls, best first
    reached = sum(places[rank - 1] - (rank - 1) >= found for places in orders)
    assert precedence_p_value(found, members, rank, controls) == pytest.approx(reached / len(orders))


def test_precedence_needs_both_groups_and_sane_counts() -> None:
    assert precedence_p_value(0, 0, 1, 5) is None and precedence_p_value(1, 3, 1, 0) is None
    with pytest.raises(ValueError, match="rank 6 of 5"):
        precedence_p_value(1, 3, 6, 5)


def test_precedence_keeps_its_rate_however_many_members_there_are() -> None:
    """A low fifth largest of few controls lets many members pass, and the test allows for that.

    False-alarm rate: 4,000 draws at 1 % have a standard error of 0.0016; the bound is 4 of them away.
    """
    generator = np.random.default_rng(0)
    n_alarms = 0
    for _ in range(4000):
        members, controls = generator.random(5000), np.sort(generator.random(500))[::-1]
        n_alarms += precedence_p_value(int((members > controls[4]).sum()), 5000, 5, 500) <= 0.01
    assert 0.002 < n_alarms / 4000 < 0.01 + 4 * 0.0016


def test_monte_carlo_p_value_counts_itself() -> None:
    assert monte_carlo_p_value(5, range(99)) == pytest.approx(95 / 100)
    assert monte_carlo_p_value(99, range(99)) == 0.01


@given(scores, scores)
def test_conformal_p_values_are_ranks(values: list[float], nulls: list[float]) -> None:
    expected = [(1 + sum(null >= value for null in nulls)) / (1 + len(nulls)) for value in values]
    assert conformal_p_values(values, nulls) == pytest.approx(expected)


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.9])
    assert false_discovery_q_values(p_values) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.9])
    assert false_discovery_q_values([]).tolist() == []


@given(st.lists(st.floats(-10, 10, allow_nan=False), min_size=4, max_size=60), rates, st.integers(0, 5))
def test_cross_fitting_uses_no_score_of_the_fold_it_judges(values: list[float], fpr: float, seed: int) -> None:
    fold = halves(len(values), seed)
    judged = cross_fitted(values, fpr, fold)
    found = 0
    for i, value in enumerate(values):
        others = sorted((v for v, f in zip(values, fold, strict=True) if f != fold[i]), reverse=True)
        found += value > others[max(1, math.floor(fpr * (len(others) + 1) + 1e-9)) - 1]
    assert (judged.found, judged.n, judged.folds) == (found, len(values), 2)


def test_cross_fitted_controls_are_found_as_often_as_the_rate_says() -> None:
    """False-alarm rate: the mean of 2,000 counts near 3.98 has a standard error of about 0.06; the bound is 5 away."""
    generator = np.random.default_rng(0)
    judged = [cross_fitted(generator.random(500), 0.01, halves(500, seed)) for seed in range(2000)]
    assert judged[0].expected == pytest.approx(500 * 2 / 251)
    assert np.mean([one.found for one in judged]) == pytest.approx(judged[0].expected, abs=0.3)
