"""Pooled seeds and the answer to "do these two settings differ"."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from study_cases import counts, done, failed, rows

from privaudit.study.pooling import Separation, Share, pooled, range_of, separation, share_of

PAIRS = st.lists(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=6)


@given(PAIRS)
def test_the_pooled_interval_is_the_exact_one(pairs: list[tuple[int, int]]):
    share = share_of(pairs)
    assert share is not None
    found, total = sum(k for k, _ in pairs), sum(n for _, n in pairs)
    exact = binomtest(found, total).proportion_ci(0.95, "exact")
    assert share.low == pytest.approx(exact.low, abs=1e-9)
    assert share.high == pytest.approx(exact.high, abs=1e-9)
    assert share.by_seed == tuple(k / n for k, n in pairs)
    assert 0 <= share.low <= share.share <= share.high <= 1


@given(PAIRS, PAIRS)
def test_separated_only_if_everything_agrees(one: list[tuple[int, int]], other: list[tuple[int, int]]):
    a, b = share_of(one), share_of(other)
    assert a is not None
    assert b is not None
    there, back = separation(a, b, "b"), separation(b, a, "a")
    assert there.status == back.status
    assert {there.direction, back.direction} in ({""}, {"above", "below"})
    is_apart = a.low > b.high or b.low > a.high
    is_ordered = min(a.by_seed) > max(b.by_seed) or min(b.by_seed) > max(a.by_seed)
    if min(len(one), len(other)) < 3:
        assert there.status == "fewer_than_three_seeds"
    elif is_apart and is_ordered:
        assert there.status == "separated"
        assert (there.direction == "above") == (a.share > b.share)
    else:
        assert there.status == "not_separated"
        assert there.direction == ""
    assert separation(a, a, "a").status != "separated"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([(18, 20)] * 3, [(2, 20)] * 3, ("separated", "above")),
        ([(2, 20)] * 3, [(18, 20)] * 3, ("separated", "below")),
        ([(18, 20)] * 2, [(2, 20)] * 3, ("fewer_than_three_seeds", "")),
        # The pooled intervals are far apart, one seed says otherwise.
        ([(20, 20), (20, 20), (5, 20)], [(0, 20), (0, 20), (6, 20)], ("not_separated", "")),
        # Every seed is above every other, the pooled intervals overlap.
        ([(6, 20)] * 3, [(5, 20)] * 3, ("not_separated", "")),
    ],
)
def test_separation_cases(one, other, expected):
    found = separation(share_of(one), share_of(other), "base")
    assert (found.status, found.direction, found.other) == (*expected, "base")


def test_what_was_not_measured_is_not_compared():
    share = share_of([(1, 2)])
    assert separation(None, share, "b") == separation(share, None, "b") == Separation(other="b", status="not_measured")
    assert share_of([]) is None
    assert share_of([(0, 0)]) is None


def test_failed_and_missing_cells_are_counted_apart():
    cell = rows()[0].cells[0]
    one = pooled([(0, done(cell, 4)), (1, failed(cell, "x")), (2, None), (3, done(cell, 6))])
    assert (one.seeds, one.failed, one.not_run) == ((0, 3), 1, 1)
    assert one.rebuilt is not None
    assert (one.rebuilt.found, one.rebuilt.total, one.rebuilt.by_seed) == (10, 40, (0.2, 0.3))
    assert one.rebuilt_controls == share_of([(4, 400)] * 2)
    assert one.published is not None
    assert one.published.found == 14
    assert (one.modes, one.verdicts) == ({"general_loss": 2}, {"leak_found": 2})
    assert one.held_out_accuracy is not None
    assert one.held_out_accuracy.mean == 0.8


def test_a_seed_without_a_threshold_is_no_zero():
    cell = rows()[0].cells[0]
    without = counts(0, ssim_threshold=None, threshold_reason="Nothing was reconstructed.", membership_applicable=False)
    one = pooled([(0, done(cell, counts=without))])
    assert one.rebuilt is None
    assert one.readable is None
    assert one.uncalibrated == "Nothing was reconstructed."
    both = pooled([(0, done(cell, counts=without)), (1, done(cell, 4))])
    assert both.rebuilt is not None
    assert both.rebuilt.by_seed == (0.2,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_mean_lies_within_its_range(values: list[float]):
    """Regression: the mean of three times 0.8 came out below 0.8, which a figure refuses."""
    found = range_of([*values, None])
    assert found is not None
    assert found.low <= found.mean <= found.high
    assert range_of([None]) is None


def test_shares_are_finite():
    share = Share(found=0, total=0, low=0, high=0, by_seed=())
    assert math.isfinite(share.share)
