"""Recounting from listed scores: what a scan lists is accepted, also where it lists quantiles of many."""

import numpy as np
import pytest

from privaudit.evidence import _listed
from privaudit.gate.scores import count_below, count_range, quantile_problem
from privaudit.statistics import quantile_threshold

LISTED = 2000


@pytest.mark.parametrize("n", [100, 101, 1999, 2000, 2001, 5000, 40_000])
@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("power", [1, 8])
def test_the_quantile_of_a_scan_is_accepted_and_another_is_not(n: int, fpr: float, power: int) -> None:
    scores = np.random.default_rng(n).random(n) ** power
    stated = quantile_threshold(scores, fpr).value
    assert stated is not None
    listed = _listed(scores)
    assert quantile_problem(listed, fpr, stated, LISTED) == ""
    assert "scores whose quantile" in quantile_problem(listed, fpr, float(scores.max()) + 0.01, LISTED)


def test_too_few_for_the_rate_let_the_largest_stand_in() -> None:
    assert quantile_problem([0.1, 0.2], 0.01, 0.2, LISTED) == ""
    assert quantile_problem([], 0.01, 0.2, LISTED) != ""


def test_rounding_leaves_a_range() -> None:
    assert count_range([0.5, 0.50004, 0.6], 0.50001) == (1, 3)
    assert count_below([0.5, 0.4], 0.5) == (1, 2)
