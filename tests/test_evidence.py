"""Scores to counts, thresholds, records and warnings."""

import numpy as np
import pytest
import torch

from privaudit.attack_types import Snapshot
from privaudit.data import ImageSet
from privaudit.evidence import _multipliers, budget_curve, evidence_of, membership_of
from privaudit.findings import membership_input
from privaudit.held_images import HeldImages
from privaudit.matching import MatchTable, Scores
from privaudit.membership import MembershipTable
from privaudit.membership.exposure import Exposure
from privaudit.result import ClassMatch, CrossFit
from privaudit.statistics import CrossFitted, counts_interval

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


def noise(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(7))


def held_of(n: int, n_controls: int, labels: bool = True, **changes) -> HeldImages:
    control = ImageSet(noise(n_controls), None, tuple(map(str, range(n_controls))), "held/") if n_controls else None
    return HeldImages(reference(n, labels), control, **changes)


def evidence(n: int = 4, reveal: bool = False, **changes):
    members = np.linspace(0.9, 0.1, n)
    distances = membership(np.linspace(0.1, 0.4, n), 0.2)
    held = held_of(n, 200, duplicates=("twin.png",), near_duplicates=(("patient-0.png", "copy.png"),), **changes)
    return evidence_of(held, table(members, CONTROLS), distances, noise(200), fpr=FPR, reveal=reveal)


def test_records_carry_their_scores_and_findings():
    found = evidence(reveal=True)
    assert [record.id for record in found.records] == [f"patient-{i}.png" for i in range(4)]
    assert [record.label for record in found.records] == [0, 1, 2, 0]
    assert [record.ssim for record in found.records] == pytest.approx([0.9, 0.6333, 0.3667, 0.1], abs=1e-4)
    assert [record.leaked for record in found.records] == [True, True, True, False]
    assert [record.membership_found for record in found.records] == [True, False, False, False]
    assert sum(record.leaked for record in found.records) == found.calibrated_threshold.members_leaked
    assert found.excluded_duplicates == ("twin.png",) and found.near_duplicates == (("patient-0.png", "copy.png"),)
    assert (found.members, found.controls) == (4, 200)


def test_names_are_hidden_behind_a_salt_unless_revealed(monkeypatch):
    monkeypatch.delenv("PRIVAUDIT_SALT", raising=False)
    one, other = evidence(), evidence()
    assert not any(name in one.model_dump_json() for name in ("patient", "twin", "copy"))
    assert len({record.id for record in one.records}) == 4
    assert one.records[0].id != other.records[0].id
    monkeypatch.setenv("PRIVAUDIT_SALT", "s")
    assert evidence().records[0].id == evidence().records[0].id != one.records[0].id


def test_records_without_labels_or_distances_say_so():
    held = held_of(2, 0, labels=False)
    found = evidence_of(held, table([0.9, 0.1]), membership(), noise(2), fpr=FPR, reveal=True)
    assert [record.label for record in found.records] == [None, None]
    assert [record.membership_score for record in found.records] == [None, None]
    assert not any(record.leaked or record.membership_found for record in found.records)


def test_records_carry_chances_corrected_for_looking_at_all():
    found = evidence()
    assert [record.p_value for record in found.records] == pytest.approx([1 / 201] * 3 + [135 / 201], abs=0.02)
    assert [record.q_value for record in found.records[:3]] == pytest.approx([4 / 3 / 201] * 3, abs=1e-3)
    without = evidence_of(held_of(1, 0), table([0.9]), membership(), noise(1), fpr=FPR, reveal=True)
    assert without.records[0].p_value is None and without.records[0].q_value is None


def test_a_record_that_a_mean_explains_as_well_is_set_aside_and_only_the_upper_bound_counts_it():
    held = HeldImages(reference(36), ImageSet(noise(200), None, tuple(map(str, range(200))), "held/"))
    first_class = held.reference.pixels[held.reference.labels == 0]
    mean = first_class[1:].mean(0)
    pool = torch.stack([torch.lerp(mean, held.reference.pixels[0], 0.1), held.reference.pixels[1]])
    matched = MatchTable(
        Scores(np.array([0.35, 1.0] + [0.1] * 34), np.ones(36), np.array([0, 1] + [0] * 34)),
        scores(CONTROLS),
        np.full((28, 36), 0.32),
        None,
    )
    found = evidence_of(held, matched, membership(), pool, fpr=FPR, reveal=True)
    assert [record.leaked for record in found.records[:3]] == [False, True, False]
    assert found.records[0].nearer_decoy == "mean of class 0"
    threshold = found.calibrated_threshold
    assert (threshold.members_leaked, threshold.members_set_aside) == (1, 1)
    assert threshold.interval_high == counts_interval(2, 36).high
    assert [decoy.name for decoy in found.decoys] == ["data mean", *(f"mean of class {i}" for i in range(3))]
    assert found.decoys[1].is_above and "mean of class 0" in found.warnings[-1]
    assert (found.records[1].lineup_rank, found.records[1].lineup_size) == (1, 100)


def test_controls_of_other_classes_give_no_membership_threshold():
    unmatched = ClassMatch(matched=False, given=200, kept=200, reason="Only 0 of 200 controls.")
    held = held_of(4, 200, class_match=unmatched, not_searched="Shifts were not looked for.")
    distances = membership(np.linspace(0.1, 0.4, 4), 0.2)
    found = evidence_of(held, table([0.9] * 4, CONTROLS), distances, noise(200), fpr=FPR, reveal=True)
    assert found.membership.threshold is None and found.membership.reason == "Only 0 of 200 controls."
    assert not any(record.membership_found for record in found.records) and found.membership.interval_high == 4
    assert found.calibrated_threshold.ssim is not None
    assert set(found.warnings[-2:]) == {"Only 0 of 200 controls.", "Shifts were not looked for."}
    apart = membership_input(found, 0)
    assert apart.state == "uncalibrated" and "Only 0 of 200 controls." in apart.reason


def test_distributions_are_sorted_and_thinned():
    many = MatchTable(scores([0.5]), scores(np.random.default_rng(0).random(5000)), None, None)
    found = evidence_of(held_of(1, 5000), many, membership(), noise(1), fpr=FPR, reveal=True)
    listed = found.distributions.control_ssim
    assert len(listed) == 2000 and list(listed) == sorted(listed)
    assert np.median(listed) == pytest.approx(0.5, abs=0.03)
    assert found.distributions.placebo_ssim == () and found.distributions.membership_control == ()


def test_warnings_name_few_controls_and_chance_above_the_published_threshold():
    few = evidence_of(held_of(1, 50), table([0.5], np.full(50, 0.6)), membership(), noise(1), fpr=FPR, reveal=True)
    assert len(few.warnings) == 2
    assert "50 controls" in few.warnings[0] and few.warnings[1].startswith("50 images")
    assert all("nobody's" in warning for warning in evidence().warnings)


def test_membership_is_carried_over_field_by_field():
    judged = CrossFitted(3, 200, 2, 0.01)
    given = MembershipTable("how", True, "why", 0.02, 0.3, 5, 1, 2.0, 7.0, 0.004, 0.9, None, None, cross_fit=judged)
    found = membership_of(given)
    assert found.cross_fit == CrossFit(folds=2, fpr=0.01, controls=200, controls_found=3, expected=2.0)
    for name in set(type(found).model_fields) - {"exposure", "cross_fit"}:
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
