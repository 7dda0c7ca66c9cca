"""Scores to counts, thresholds, records and warnings."""

import numpy as np
import pytest
import torch

from privaudit.attack_types import Snapshot
from privaudit.data import ImageSet
from privaudit.evidence import _multipliers, budget_curve, calibrated, evidence_of, membership_of, published
from privaudit.matching import MatchTable, Scores
from privaudit.membership import MembershipTable
from privaudit.membership.exposure import Exposure

FPR = 0.01


def scores(values) -> Scores:
    values = np.asarray(values, dtype=np.float64)
    return Scores(values, values / 2, np.arange(len(values)))


def table(members, controls=None, placebo=None) -> MatchTable:
    placebo = None if placebo is None else np.asarray(placebo, dtype=np.float64)
    return MatchTable(scores(members), None if controls is None else scores(controls), placebo, None)


def reference(n: int, labels: bool = True) -> ImageSet:
    pixels = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    names = tuple(f"patient-{i}.png" for i in range(n))
    return ImageSet(pixels, torch.arange(n) % 3 if labels else None, names, "train/")


def membership(distance=None, threshold=None) -> MembershipTable:
    distance = None if distance is None else np.asarray(distance)
    control = None if distance is None else np.array([0.5, 0.6])
    return MembershipTable("span", True, "", FPR, threshold, 0, 0, 0.0, 4.0, None, None, distance, control)


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


def evidence(n: int = 4, reveal: bool = False, **changes):
    members = np.linspace(0.9, 0.1, n)
    options = {"fpr": FPR, "reveal": reveal, "duplicates": ("twin.png",)} | changes
    distances = membership(np.linspace(0.1, 0.4, n), 0.2)
    return evidence_of(reference(n), 200, table(members, CONTROLS), distances, **options)


def test_records_carry_their_scores_and_findings():
    found = evidence(reveal=True)
    assert [record.id for record in found.records] == [f"patient-{i}.png" for i in range(4)]
    assert [record.label for record in found.records] == [0, 1, 2, 0]
    assert [record.ssim for record in found.records] == [0.9, 0.6333, 0.3667, 0.1]
    assert [record.leaked for record in found.records] == [True, True, True, False]
    assert [record.membership_found for record in found.records] == [True, False, False, False]
    assert sum(record.leaked for record in found.records) == found.calibrated_threshold.members_leaked
    assert found.excluded_duplicates == ("twin.png",)
    assert (found.members, found.controls) == (4, 200)


def test_names_are_hidden_behind_a_salt_unless_revealed(monkeypatch):
    monkeypatch.delenv("PRIVAUDIT_SALT", raising=False)
    one, other = evidence(), evidence()
    assert "patient" not in one.model_dump_json() and "twin" not in one.model_dump_json()
    assert len({record.id for record in one.records}) == 4
    assert one.records[0].id != other.records[0].id
    monkeypatch.setenv("PRIVAUDIT_SALT", "s")
    assert evidence().records[0].id == evidence().records[0].id != one.records[0].id


def test_records_without_labels_or_distances_say_so():
    found = evidence_of(
        reference(2, labels=False), 0, table([0.9, 0.1]), membership(), fpr=FPR, reveal=True, duplicates=()
    )
    assert [record.label for record in found.records] == [None, None]
    assert [record.membership_score for record in found.records] == [None, None]
    assert not any(record.leaked or record.membership_found for record in found.records)


def test_distributions_are_sorted_and_thinned():
    many = MatchTable(scores([0.5]), scores(np.random.default_rng(0).random(5000)), None, None)
    found = evidence_of(reference(1), 5000, many, membership(), fpr=FPR, reveal=True, duplicates=())
    listed = found.distributions.control_ssim
    assert len(listed) == 2000 and list(listed) == sorted(listed)
    assert np.median(listed) == pytest.approx(0.5, abs=0.03)
    assert found.distributions.placebo_ssim == () and found.distributions.membership_control == ()


def test_warnings_name_few_controls_and_chance_above_the_published_threshold():
    few = evidence_of(
        reference(1), 50, table([0.5], np.full(50, 0.6)), membership(), fpr=FPR, reveal=True, duplicates=()
    )
    assert len(few.warnings) == 2
    assert "50 controls" in few.warnings[0] and few.warnings[1].startswith("50 images")
    assert evidence().warnings == ()


def test_membership_is_carried_over_field_by_field():
    given = MembershipTable("how", True, "why", 0.02, 0.3, 5, 1, 2.0, 7.0, 0.004, 0.9, None, None)
    found = membership_of(given)
    for name in set(type(found).model_fields) - {"exposure"}:
        assert getattr(found, name) == getattr(given, name), name
    assert found.exposure is not None and not found.exposure.applicable


def test_exposure_is_ranked_among_reference_and_controls():
    solved = Exposure(np.array([0.5, 0.1, 0.9]), np.array([0.2, 0.6]), 0.8, 0.7, 0.1, 20, "")
    given = MembershipTable("how", True, "why", 0.02, 0.3, 5, 1, 2.0, 7.0, 0.004, 0.9, None, None, exposure=solved)
    found = membership_of(given).exposure
    assert found is not None and found.applicable
    for name in ("explained", "explained_by_members", "explained_by_controls", "iterations", "reason"):
        assert getattr(found, name) == getattr(solved, name), name
    multipliers, ranks = _multipliers(given)
    assert ranks is not None and multipliers is not None
    assert ranks.tolist() == [3, 5, 1] and multipliers.tolist() == [0.5, 0.1, 0.9]


def test_the_curve_counts_every_snapshot_and_ends_with_the_last():
    held = reference(3)
    noise = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    history = (Snapshot(1.0, noise), Snapshot(2.004, torch.cat([noise, held.pixels[:2]])))
    curve = budget_curve(history, held, 0.95)
    assert [(p.seconds, p.reconstructions, p.members_calibrated) for p in curve] == [(1.0, 5, 0), (2.0, 7, 2)]
    assert curve[1].members_published == 2
    assert budget_curve(history, held, None)[1].members_calibrated == 0
    long = tuple(Snapshot(float(i), noise) for i in range(30))
    thinned = budget_curve(long, held, 0.9)
    assert len(thinned) == 8 and (thinned[0].seconds, thinned[-1].seconds) == (0.0, 29.0)
    assert budget_curve((), held, 0.9) == ()
