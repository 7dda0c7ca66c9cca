"""The rule of PRODUCT.md, both ways, and the exit-code table."""

from dataclasses import replace

import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, build

from privaudit.coverage import not_run, refined_instead, shortfalls_of, unexplained
from privaudit.errors import ExitCode
from privaudit.findings import FindingInput, rebuilt_input
from privaudit.result import BudgetPoint, Instrument, StrictestThreshold, Verdict
from privaudit.statistics import counts_interval, lower_bound_beyond_chance
from privaudit.verdict import budget_saturated, decide, exit_code, supported_allowance, verdict_for

PASSED = Instrument(positive_control="passed", negative_control="passed")


def measured(name: str = "rebuilt", k: int = 0, n: int = 50, allowance: int = 0, p: float | None = 1.0) -> FindingInput:
    low, high = lower_bound_beyond_chance(k, n, 0.01), counts_interval(k, n).high
    return FindingInput(name, "measured", k, n, low, high, allowance, p, "")


def absent(name: str, state: str, reason: str) -> FindingInput:
    return FindingInput(name, state, 0, 0, 0.0, 0.0, 0, None, reason)


def verdict(rebuilt: FindingInput, membership: FindingInput, **changes: object) -> Verdict:
    options = {"fail_on": "any", "instrument": PASSED, "interrupted": False, **changes}
    return decide(rebuilt, membership, **options)


NOTHING = measured(allowance=4), measured("membership", allowance=4)
FOUND = measured(k=30, p=1e-20)


def test_rebuilt_records_beyond_chance_are_a_leak_with_allowance_zero() -> None:
    found = verdict(FOUND, measured("membership"))
    assert found.status == "leak_found"
    assert [f.status for f in found.findings] == ["found", "inconclusive"]
    assert "30 of 50 records rebuilt" in found.reasons[0]
    assert found.findings[0].interval_low == pytest.approx(counts_interval(30, 50).low - 0.5)


def test_one_false_positive_is_no_leak() -> None:
    assert verdict(measured(k=1, p=0.09), measured("membership")).status == "inconclusive"


def test_leak_needs_members_to_differ_from_controls() -> None:
    found = verdict(measured(k=30, p=0.02), measured("membership"))
    assert found.status == "inconclusive"
    assert "p = 0.02" in found.reasons[0]


def test_leak_without_a_p_value_rests_on_the_bound() -> None:
    assert verdict(measured(k=30, p=None), measured("membership")).status == "leak_found"


@pytest.mark.parametrize(
    ("fail_on", "status"), [("any", "leak_found"), ("membership", "leak_found"), ("rebuilt", "inconclusive")]
)
def test_only_selected_findings_make_a_leak_but_both_are_needed_for_none(fail_on: str, status: str) -> None:
    readable = measured("membership", k=50, p=1e-30)
    assert verdict(measured(allowance=4), readable, fail_on=fail_on).status == status


def test_no_leak_needs_a_stated_allowance() -> None:
    assert verdict(*NOTHING).status == "no_leak_found"
    three = verdict(measured(allowance=3), NOTHING[1])
    assert three.status == "inconclusive"
    assert "support an allowance of 4 or more (--max-leaked)" in three.reasons[0]
    zero = verdict(measured(), measured("membership"))
    assert zero.status == "inconclusive"
    assert ["--max-leaked" in zero.reasons[0], "--max-readable" in zero.reasons[1]] == [True, True]


@pytest.mark.parametrize(("k", "n"), [(0, 50), (2, 50), (0, 300), (5, 500), (50, 50)])
def test_the_allowance_that_is_named_is_the_smallest_that_works(k: int, n: int) -> None:
    named = supported_allowance(counts_interval(k, n).high)
    assert verdict(measured(k=k, n=n, allowance=named), NOTHING[1]).status == "no_leak_found"
    assert verdict(measured(k=k, n=n, allowance=named - 1), NOTHING[1]).status != "no_leak_found"


def test_membership_may_not_apply_but_must_not_be_skipped() -> None:
    not_applicable = absent("membership", "not_applicable", "No linear layer.")
    assert verdict(NOTHING[0], not_applicable).status == "no_leak_found"
    assert "No linear layer." in verdict(NOTHING[0], not_applicable).reasons
    assert verdict(NOTHING[0], absent("membership", "not_run", "Skipped.")).status == "inconclusive"


@pytest.mark.parametrize("state", ["not_applicable", "not_run", "uncalibrated"])
def test_without_the_first_finding_there_is_no_clean_verdict(state: str) -> None:
    found = verdict(absent("rebuilt", state, "Because."), NOTHING[1])
    assert (found.status, found.reasons) == ("inconclusive", ("Because.",))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"instrument": Instrument(positive_control="failed", negative_control="passed")}, "positive control failed"),
        ({"instrument": Instrument(positive_control="not_run", negative_control="passed")}, "positive control was not"),
        ({"instrument": Instrument(positive_control="passed", negative_control="failed")}, "negative control failed"),
        ({"instrument": Instrument(positive_control="passed", negative_control="not_run")}, "negative control was not"),
        ({"interrupted": True}, "interrupted"),
        ({"is_budget_saturated": False}, "still finding"),
    ],
)
def test_each_doubt_alone_stands_in_the_way_and_is_said(changes: dict[str, object], sentence: str) -> None:
    doubtful = verdict(*NOTHING, **changes)
    assert doubtful.status == "inconclusive"
    assert len(doubtful.reasons) == 1
    assert sentence in doubtful.reasons[0]


def test_every_doubt_is_listed() -> None:
    broken = Instrument(positive_control="failed", negative_control="not_run")
    doubtful = verdict(
        absent("rebuilt", "not_run", "A."), absent("membership", "not_run", "B."), instrument=broken, interrupted=True
    )
    assert len(doubtful.reasons) == 5


def test_a_leak_stands_when_interrupted_but_not_with_a_failed_negative_control() -> None:
    assert verdict(FOUND, NOTHING[1], interrupted=True, is_budget_saturated=False).status == "leak_found"
    for states in (("passed", "failed"), ("failed", "passed")):
        broken = Instrument(positive_control=states[0], negative_control=states[1], reason="It saw 3 of 12.")
        doubtful = verdict(FOUND, NOTHING[1], instrument=broken)
        assert doubtful.status == "inconclusive"
        assert "control failed" in doubtful.reasons[-1] and doubtful.reasons[-1].endswith("It saw 3 of 12.")


def test_a_leak_needs_reconstructions_to_differ_from_unoptimised_draws() -> None:
    found = verdict(replace(FOUND, placebo_p_value=0.03), NOTHING[1])
    assert found.status == "inconclusive" and found.findings[0].status == "inconclusive"
    assert "unoptimised draws" in found.reasons[0] and "p = 0.03" in found.reasons[0]
    assert verdict(replace(FOUND, placebo_p_value=0.01), NOTHING[1]).status == "leak_found"


@pytest.mark.parametrize(
    ("low", "p", "stated_p", "expected_low", "expected_p"),
    [(3.0, 0.002, 0.3, 3.0, 0.004), (0.0, 0.9, 0.003, None, 0.006), (3.0, None, 0.3, None, 0.3)],
)
def test_the_second_look_is_corrected_for(
    low: float, p: float | None, stated_p: float, expected_low: float | None, expected_p: float
) -> None:
    result = build(LEAK, n_rebuilt=3)
    assert result.evidence is not None
    strictest = StrictestThreshold(ssim=0.43, fpr=0.002, members_leaked=3, interval_low=low, p_value=p)
    threshold = result.evidence.calibrated_threshold.model_copy(update={"strictest": strictest, "p_value": stated_p})
    found = rebuilt_input(
        result.evidence.model_copy(update={"calibrated_threshold": threshold}), result.preflight, allowance=0
    )
    confidence = 0.95 if p is None else 0.975
    stated = lower_bound_beyond_chance(threshold.members_leaked, 50, 0.01, confidence)
    assert found.interval_low == pytest.approx(stated if expected_low is None else max(expected_low, stated))
    assert found.p_value == pytest.approx(expected_p)
    assert found.interval_high == counts_interval(threshold.members_leaked, 50).high


def test_one_look_is_not_corrected_for_two() -> None:
    result = build(LEAK, n_rebuilt=3)
    assert result.evidence is not None
    stated = result.evidence.calibrated_threshold
    same = StrictestThreshold(ssim=stated.ssim, fpr=0.01, members_leaked=3, interval_low=3.0, p_value=0.5)
    threshold = stated.model_copy(update={"strictest": same, "p_value": 0.006})
    found = rebuilt_input(result.evidence.model_copy(update={"calibrated_threshold": threshold}), result.preflight, 0)
    assert found.p_value == 0.006 and found.interval_low == lower_bound_beyond_chance(3, 50, 0.01)


def test_records_set_aside_keep_a_model_from_being_cleared() -> None:
    result = build(NO_LEAK)
    assert result.evidence is not None
    threshold = result.evidence.calibrated_threshold.model_copy(update={"members_set_aside": 30})
    evidence = result.evidence.model_copy(update={"calibrated_threshold": threshold})
    allowed = {"max_leaked": 4, "max_readable": 4, "fail_on": "any"}
    found = verdict_for(evidence, result.preflight, result.attack, result.instrument, **allowed)
    assert found.status == "inconclusive"
    assert "30 more set aside, because a mean image is as near" in found.reasons[0]


def test_findings_carry_what_they_rest_on() -> None:
    result = build(LEAK)
    evidence = result.evidence
    assert evidence is not None
    rebuilt, membership = result.verdict.findings
    assert (rebuilt.total, rebuilt.threshold) == (evidence.members, evidence.calibrated_threshold.ssim)
    assert (rebuilt.fpr, rebuilt.p_value) == (0.01, evidence.calibrated_threshold.p_value)
    assert (membership.threshold, membership.p_value) == (evidence.membership.threshold, evidence.membership.p_value)
    absent_ones = build(NO_REFERENCE).verdict.findings
    assert [(f.total, f.threshold, f.fpr, f.p_value) for f in absent_ones] == [(0, None, None, None)] * 2


@pytest.mark.parametrize(("n", "explained", "is_told"), [(50, 0.93, True), (50, 0.995, False), (None, 0.5, False)])
def test_a_reference_that_did_not_make_the_weights_is_no_ground_for_clearing_them(
    n: int | None, explained: float, is_told: bool
) -> None:
    result = build(NO_LEAK)
    changed = {"estimated_training_images": n, "explained_by_reference": explained}
    preflight = result.preflight.model_copy(update=changed)
    allowed = {"max_leaked": 4, "max_readable": 4, "fail_on": "any"}
    found = verdict_for(result.evidence, preflight, result.attack, result.instrument, **allowed)
    assert found.status == ("inconclusive" if is_told else "no_leak_found")
    assert any("About 50 images made the first layer" in reason for reason in found.reasons) == is_told


def test_exit_codes() -> None:
    codes = {"leak": 1, "none": 0, "unsure": 3}
    verdicts = {"leak": build(LEAK), "none": build(NO_LEAK), "unsure": build(INCONCLUSIVE)}
    assert {name: int(exit_code(result.verdict)) for name, result in verdicts.items()} == codes
    assert {exit_code(result.verdict, exit_zero=True) for result in verdicts.values()} == {ExitCode.NO_LEAK_FOUND}
    assert exit_code(verdicts["leak"].verdict, exit_zero=True, interrupted=True) == ExitCode.INTERRUPTED


def test_without_a_reference_nothing_is_decided() -> None:
    found = build(NO_REFERENCE).verdict
    assert found.status == "inconclusive"
    assert [f.status for f in found.findings] == ["not_run", "not_run"]


def test_too_few_controls_give_no_rate() -> None:
    found = build(replace(LEAK, n_controls=99)).verdict
    assert found.status == "inconclusive"
    assert "No false-positive rate can be given" in found.reasons[0]


def test_saturation() -> None:
    def curve(*counts: int) -> tuple[BudgetPoint, ...]:
        return tuple(
            BudgetPoint(seconds=i + 1.0, reconstructions=i, members_published=0, members_calibrated=k)
            for i, k in enumerate(counts)
        )

    assert budget_saturated(curve(1)) is None
    assert budget_saturated(curve(0, 5, 9, 9, 9, 9)) is True
    assert budget_saturated(curve(0, 1, 2, 3, 4, 5)) is False


def test_an_attack_that_searched_nothing_or_ran_out_of_time_is_never_a_pass():
    result = build(NO_LEAK)
    assert result.verdict.status == "no_leak_found"

    def status(**changes):
        attack = result.attack.model_copy(update=changes)
        return verdict_for(
            result.evidence,
            result.preflight,
            attack,
            result.instrument,
            max_leaked=result.verdict.max_leaked,
            max_readable=result.verdict.max_readable,
            fail_on="any",
        ).status

    first, second = result.attack.runs
    assert status() == "no_leak_found"
    assert status(reconstructions=0) == "inconclusive"
    assert status(runs=(first,)) == "inconclusive"
    for end in ("budget_exhausted", "non_finite"):
        assert status(runs=(first, second.model_copy(update={"status": end}))) == "inconclusive"


def test_refined_restarts_stand_for_the_feature_span_where_they_hand_something_on():
    result = build(NO_LEAK)
    first = result.attack.runs[0]
    refined = first.model_copy(update={"objective": "tied_equation"})
    attack = result.attack.model_copy(update={"runs": (first, refined)})
    assert shortfalls_of(result.preflight, attack) == () and not_run(result.preflight, attack) == ()
    assert refined_instead(result.preflight, attack) == ("feature_span",)
    empty = attack.model_copy(update={"runs": (first, refined.model_copy(update={"reconstructions": 0}))})
    assert not_run(result.preflight, empty) == ("feature_span",)
    assert "feature_span" in shortfalls_of(result.preflight, empty)[0]
    assert refined_instead(result.preflight, result.attack) == ()


def test_a_budget_whose_first_snapshot_came_late_and_found_nothing_is_saturated():
    point = BudgetPoint(seconds=20.0, reconstructions=10, members_published=0, members_calibrated=0)
    later = point.model_copy(update={"seconds": 25.0})
    assert budget_saturated((point, later))
    assert not budget_saturated((point, later.model_copy(update={"members_calibrated": 1})))


@pytest.mark.parametrize(
    ("by_reference", "by_attack", "objective", "is_doubted"),
    [
        (0.05, 0.3, "general_loss", True),
        (0.05, None, "general_loss", True),
        (0.9, 0.3, "general_loss", False),
        (0.05, 0.97, "general_loss", True),  # the attack solved the equation, and not with this reference
        (0.05, None, "feature_span", False),  # needs no stationary point
        (None, 0.3, "general_loss", False),
    ],
)
def test_a_failed_attack_proves_nothing_where_nothing_explains_the_weights(
    by_reference: float | None, by_attack: float | None, objective: str, is_doubted: bool
) -> None:
    result = build(NO_LEAK)
    evidence = result.evidence
    assert evidence is not None and evidence.membership.exposure is not None
    exposure = evidence.membership.exposure.model_copy(update={"explained_by_members": by_reference})
    evidence = evidence.model_copy(update={"membership": evidence.membership.model_copy(update={"exposure": exposure})})
    run = result.attack.runs[0].model_copy(update={"objective": objective})
    attack = result.attack.model_copy(update={"runs": (run,), "explained": by_attack})
    preflight = result.preflight.model_copy(update={"objectives": (objective,)})
    found = verdict_for(evidence, preflight, attack, PASSED, max_leaked=4, max_readable=4, fail_on="any")
    assert bool(unexplained(evidence, attack)) == is_doubted
    assert found.status == ("inconclusive" if is_doubted else "no_leak_found")
    assert not is_doubted or "5.0% of the weights" in found.reasons[-1]
