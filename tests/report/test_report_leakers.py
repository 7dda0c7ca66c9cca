"""Charts of who leaks: marks and bars are the result's numbers, and absences say why."""

import re

import pytest
from result_builder import LEAK, Case, build

from privaudit.report.leakers import MOST_CLASSES, classes_chart, leakers_chart
from privaudit.report.sections import ClassRow, class_rows


def test_every_training_image_is_a_row_by_its_multiplier() -> None:
    evidence = build(LEAK).evidence
    assert evidence is not None
    chart = leakers_chart(evidence)
    expected = sorted(evidence.records, key=lambda r: -(r.multiplier or 0))
    assert [row[1] for row in chart.rows] == [f"{r.ssim:.3f}" for r in expected]
    n_leaked = sum(r.leaked for r in evidence.records)
    assert f"rebuilt ({n_leaked})" in chart.svg
    assert f"not counted ({len(evidence.records) - n_leaked})" in chart.svg
    in_upper = sum(r.leaked for r in expected[:25])
    assert f"Of the 25 with the largest multipliers {in_upper} are rebuilt" in chart.alt


def test_records_set_aside_are_explained() -> None:
    evidence = build(LEAK).evidence
    assert evidence is not None
    calibrated = evidence.calibrated_threshold.model_copy(update={"members_set_aside": 2})
    assert (
        "2 open marks above the line"
        in leakers_chart(evidence.model_copy(update={"calibrated_threshold": calibrated})).caption
    )


@pytest.mark.parametrize(("exposure", "kind"), [("none", "not_run"), ("refused", "not_applicable")])
def test_without_multipliers_it_says_why(exposure: str, kind: str) -> None:
    evidence = build(Case(exposure=exposure)).evidence
    assert evidence is not None
    chart = leakers_chart(evidence)
    assert chart.absent
    assert chart.absent_kind == kind


def test_bars_are_the_counts_of_the_classes() -> None:
    rows = class_rows(build(LEAK).evidence)
    chart = classes_chart(rows)
    assert [row[:3] for row in chart.rows] == [(str(r.label), str(r.total), str(r.rebuilt)) for r in rows]
    assert "hatch" in chart.svg or re.search(r"<pattern", chart.svg)  # not by colour alone


def test_many_classes_are_a_table_only() -> None:
    chart = classes_chart([ClassRow(label, 1, 0, 0, None) for label in range(MOST_CLASSES + 1)])
    assert not chart.svg
    assert "31 classes" in chart.absent
    assert classes_chart(()).absent
