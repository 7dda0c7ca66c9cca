"""Thresholds that count: controls, placebo, and controls judged by the other half."""

import numpy as np
import pytest

from privaudit.calibration import calibrated, published, record_p_values
from privaudit.matching import MatchTable, Scores
from privaudit.statistics import counts_interval, exchangeability_p_value, lower_bound_beyond_chance, precedence_p_value

FPR = 0.01


def scores(values) -> Scores:
    values = np.asarray(values, dtype=np.float64)
    return Scores(values, values / 2, np.arange(len(values)))


def table(members, controls=None, placebo=None) -> MatchTable:
    placebo = None if placebo is None else np.asarray(placebo, dtype=np.float64)
    return MatchTable(scores(members), None if controls is None else scores(controls), placebo, None)


CONTROLS = np.linspace(0, 0.3, 200)


def test_without_a_placebo_the_threshold_is_the_controls_quantile():
    found = calibrated(table([0.9, 0.31, 0.2, 0.1], CONTROLS), FPR)
    assert found.ssim == found.control_quantile == pytest.approx(CONTROLS[-2])  # floor(0.01 · 201) = second largest
    assert (found.members_leaked, found.controls_leaked) == (2, 1)
    assert found.placebo_quantile is None and found.reason == ""
    assert 0 <= found.interval_low <= 2 <= found.interval_high <= 4
    assert found.p_value < 0.01


@pytest.mark.parametrize(("level", "is_higher"), [(0.5, True), (0.1, False)])
def test_the_larger_of_control_and_placebo_quantile_decides(level, is_higher):
    placebo = np.full((300, 4), level)
    found = calibrated(table([0.9, 0.45, 0.31, 0.1], CONTROLS, placebo), FPR)
    assert found.placebo_quantile == pytest.approx(level)
    assert found.ssim == pytest.approx(max(level, CONTROLS[-2]))
    assert found.members_leaked == (1 if is_higher else 3)
    assert found.controls_leaked == (0 if is_higher else 1)


def test_few_placebo_scores_are_stood_in_for_by_the_largest():
    found = calibrated(table([0.9, 0.2], CONTROLS, [[0.4, 0.1], [0.7, 0.3]]), FPR)
    assert found.placebo_quantile == 0.7 and found.ssim == 0.7 and found.members_leaked == 1


def test_without_enough_controls_there_is_no_threshold_and_no_leak():
    for controls in (None, CONTROLS[:50]):
        found = calibrated(table([0.9, 0.8], controls), FPR)
        assert found.ssim is None and found.p_value is None
        assert (found.members_leaked, found.interval_low, found.interval_high) == (0, 0.0, 2.0)
        assert "controls" in found.reason


def test_the_published_threshold_counts_its_own_placebo():
    found = published(table([0.41, 0.4, 0.9], [0.5, 0.1], [[0.5, 0.1, 0.1], [0.5, 0.5, 0.1]]))
    assert (found.ssim, found.members_leaked, found.controls_leaked, found.placebo_leaked) == (0.4, 2, 1, 1.5)
    assert published(table([0.5])).placebo_leaked is None and published(table([0.5])).controls_leaked == 0


def test_the_test_fits_what_set_the_threshold():
    members = [0.9, 0.45, 0.31, 0.1]
    by_controls = calibrated(table(members, CONTROLS), FPR)
    assert by_controls.p_value == precedence_p_value(3, 4, 2, 200)
    by_placebo = calibrated(table(members, CONTROLS, np.full((300, 4), 0.4)), FPR)
    assert by_placebo.p_value == exchangeability_p_value(2, 4, 0, 200)


def test_decoys_are_not_counted():
    found = calibrated(table([0.9, 0.8, 0.1], CONTROLS), FPR, is_decoy=np.array([True, False, False]))
    assert (found.members_leaked, found.members_set_aside) == (1, 1)
    assert found.interval_high == counts_interval(2, 3).high
    assert found.strictest is not None and found.strictest.members_leaked == 1


def test_controls_are_judged_by_the_half_they_are_not_in():
    """A single high control is above the threshold of the other half, whichever half it is in."""
    controls = np.append(CONTROLS[:-1], 0.9)
    for seed in range(4):
        fitted = calibrated(table([0.5], controls), FPR, seed).cross_fit
        assert fitted is not None and (fitted.folds, fitted.controls) == (2, 200)
        assert fitted.controls_found >= 1
        assert fitted.fpr == pytest.approx(1 / 101) and fitted.expected == pytest.approx(200 / 101)
    above_all = calibrated(table([0.5], controls, np.full((300, 1), 0.95)), FPR).cross_fit
    assert above_all is not None and above_all.controls_found == 0


def test_a_record_is_as_surprising_as_the_less_surprised_null_says():
    members, controls = [0.5, 0.25, 0.05], np.linspace(0, 0.3, 99)
    assert record_p_values(table(members)) is None
    assert record_p_values(table(members, controls)) == pytest.approx([0.01, 0.18, 0.83], abs=0.001)
    placebo = np.linspace(0, 0.6, 999).reshape(333, 3)
    assert record_p_values(table(members, controls, placebo)) == pytest.approx([0.168, 0.585, 0.917], abs=0.005)


def test_operating_points_compare_with_controls_alone():
    found = calibrated(table([0.9, 0.31, 0.1], CONTROLS, np.full((300, 3), 0.95)), FPR)
    at_one_percent, at_a_tenth = found.operating_points
    assert (at_one_percent.fpr, at_one_percent.members_found, at_one_percent.tpr) == (0.01, 2, pytest.approx(2 / 3))
    assert at_a_tenth.members_found is None and "1000 controls" in at_a_tenth.reason
    assert found.members_leaked == 0 and found.auc is not None and found.auc > 0.7


def test_few_images_rebuilt_well_are_seen_above_every_null():
    """Eight of 500 drown in the five that 1 % lets pass; above all of 999 controls chance gives half a one."""
    controls = np.linspace(0, 0.3, 999)
    members = np.append(np.linspace(0, 0.29, 492), np.full(8, 0.9))
    found = calibrated(table(members, controls, np.full((4, 500), 0.2)), FPR)
    assert found.strictest is not None and found.interval_low == 0
    assert (found.strictest.ssim, found.strictest.members_leaked) == (0.3, 8)
    assert found.strictest.fpr == pytest.approx(1 / 1000)
    assert found.strictest.interval_low == pytest.approx(lower_bound_beyond_chance(8, 500, 0.001, 0.975))
    assert found.strictest.interval_low > 2
    assert found.strictest.p_value == precedence_p_value(8, 500, 1, 999)
    assert found.strictest.p_value < 0.005
    few_draws = calibrated(table(members, controls, np.full((1, 500), 0.2)), FPR).strictest
    assert few_draws is not None and few_draws.fpr == pytest.approx(1 / 501)
