"""What counts are held against has its own lines, and results of older versions still render."""

from result_builder import LEAK, build

from privaudit.report import REPORTS, ReportOptions
from privaudit.report.nulls import cross_fit_details, left_out, rebuilt_null_details
from privaudit.report.sections import finding_cards
from privaudit.result import AuditResult, CrossFit, Decoy
from privaudit.result_file import sealed

CROSS_FIT = CrossFit(folds=2, fpr=0.008, controls=500, controls_found=7, expected=4.0)


def with_nulls(**changes: object) -> AuditResult:
    result = build(LEAK)
    evidence = result.evidence
    assert evidence is not None
    records = tuple(
        record.model_copy(
            update={
                "q_value": 0.01 if record.leaked else 0.4,
                "lineup_rank": 1 if i % 2 else 3,
                "lineup_size": 100,
                "nearer_decoy": "mean of class 2" if i == 40 else None,
            }
        )
        for i, record in enumerate(evidence.records)
    )
    nulls = {"cross_fit": CROSS_FIT, "placebo_p_value": 0.01, "members_set_aside": 1}
    threshold = evidence.calibrated_threshold.model_copy(update=nulls)
    membership = evidence.membership.model_copy(update={"cross_fit": CROSS_FIT})
    decoys = (Decoy(name="data mean", ssim=0.3, is_above=False), Decoy(name="mean of class 2", ssim=0.6, is_above=True))
    update = {
        "records": records,
        "calibrated_threshold": threshold,
        "membership": membership,
        "decoys": decoys,
        "excluded_duplicates": ("c1", "c2"),
        "near_duplicates": (("r1", "r2", "r3"),),
        **changes,
    }
    return sealed(result.model_copy(update={"evidence": evidence.model_copy(update=update)}))


def test_controls_are_those_judged_by_the_other_half() -> None:
    for card in finding_cards(with_nulls()):
        assert card.figures[0].controls.text == "7 of 500"
        assert ("Controls", "7 of 500 above the threshold of the other half, where chance gives 4.0") in card.details


def test_every_null_has_its_own_line() -> None:
    result = with_nulls()
    assert result.evidence is not None
    lines = dict(rebuilt_null_details(result.evidence))
    n = sum(record.leaked for record in result.evidence.records)
    assert lines["Exact test, against unoptimised draws"] == "p = 0.01"
    assert lines["Corrected for looking at 50 records"].startswith(f"{n} at a false-discovery rate of 5")
    line_ups = lines["Line-ups with 99 controls, those of the class first"]
    assert line_ups == "25 of 50 records come first, where chance gives 0.5"
    assert lines["Mean images (nobody's)"].startswith("1 of 2 above the threshold; 1 record set aside")


def test_what_was_left_out_is_named() -> None:
    result = with_nulls()
    assert result.evidence is not None
    assert left_out(result.evidence) == (
        "2 controls left out, because the reference holds the same picture: c1, c2.",
        "Shown once and counted once: r1; left out: r2, r3.",
    )
    many = with_nulls(near_duplicates=tuple((f"a{i}", f"b{i}") for i in range(12)), excluded_duplicates=())
    assert many.evidence is not None
    assert len(left_out(many.evidence)) == 11 and left_out(many.evidence)[-1].startswith("2 more groups")


def test_the_page_shows_them_all() -> None:
    page = REPORTS["html"].render(with_nulls(), None, ReportOptions())
    for text in (
        "7 of 500",
        "Line-ups",
        "left out: r2, r3",
        "1 of 100",
        "mean of class 2 is as near",
        "Corrected p (q)",
    ):
        assert text in page, text


def test_results_without_them_render_as_before() -> None:
    result = build(LEAK)
    assert result.evidence is not None
    assert cross_fit_details(None) == rebuilt_null_details(result.evidence) == left_out(result.evidence) == ()
    assert REPORTS["html"].render(result, None, ReportOptions())
