"""The exposure section: measured, not run, and of results that had none."""

import pytest
from result_builder import LEAK, NO_REFERENCE, build

from privaudit.report.exposure import N_LISTED, exposure_view
from privaudit.report.html import HtmlReport
from privaudit.report.interface import ReportOptions
from privaudit.report.plots import multiplier_chart
from privaudit.result import AuditResult


def test_the_most_exposed_come_first_with_what_explains_the_weights() -> None:
    result = build(LEAK)
    assert result.evidence is not None
    view = exposure_view(result)
    assert not view.absent and len(view.rows) == N_LISTED
    assert [row.rank for row in view.rows] == sorted(row.rank for row in view.rows)
    first = min(result.evidence.records, key=lambda record: record.exposure_rank or 0)
    assert view.rows[0].record == first.id and view.rows[0].multiplier == f"{first.multiplier:.4g}"
    assert dict(view.shares)["Explained by the reference alone"] == "85.0%"
    assert dict(view.shares)["Explained by 50 controls alone"] == "10.0%"
    among = sum((record.exposure_rank or 999) <= 50 for record in result.evidence.records)
    assert f"Of the 50 most exposed images {among} are training images" in view.sentences[1]
    assert "about 5 would be" in view.sentences[1]
    assert multiplier_chart(result.evidence).svg


def poorly_explained() -> AuditResult:
    result = build(LEAK)
    assert result.evidence is not None and result.evidence.membership.exposure is not None
    exposure = result.evidence.membership.exposure.model_copy(update={"explained_by_members": 0.05, "reason": "Why."})
    membership = result.evidence.membership.model_copy(update={"exposure": exposure})
    return result.model_copy(update={"evidence": result.evidence.model_copy(update={"membership": membership})})


def test_data_that_explain_little_are_said_to_prove_nothing() -> None:
    sentences = exposure_view(poorly_explained()).sentences
    assert "explains 5.0% of the weights" in sentences[2] and "proves nothing by failing" in sentences[2]
    assert sentences[3] == "Why."


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (build(NO_REFERENCE), "No reference images"),
        (build(LEAK, exposure="none"), "before exposure was measured"),
        (build(LEAK, exposure="refused"), "cannot differentiate"),
    ],
)
def test_what_is_absent_says_why(result: AuditResult, said: str) -> None:
    assert said in exposure_view(result).absent
    page = HtmlReport().render(result, None, ReportOptions())
    assert said in page and "most exposed training images" not in page
