"""The gate's decision on the page: visible, escaped, and without names of records."""

import pytest
from result_builder import LEAK, build, decision

from privaudit.errors import ResultError
from privaudit.gate_decision import Comparison, GateCheck, WaiverState
from privaudit.report import REPORTS, ReportOptions
from privaudit.report.gate_section import gate_section


def waiver(target: str, status: str = "applied") -> WaiverState:
    return WaiverState(
        target=target, owner="<b>office</b>", reason="Public pictures.", expires="2027-01-31",
        model_sha256="0" * 64, status=status, message="",
    )  # fmt: skip


def test_checks_waivers_and_baseline_are_shown() -> None:
    result = build(LEAK)
    assert result.evidence is not None
    identifier = result.evidence.records[4].id
    made = decision(
        result,
        exit_code=1,
        checks=(
            GateCheck(name="rebuilt", status="waived", message=f"30 of 50, {identifier} among them."),
            GateCheck(name="minimum-controls", status="error", message="500 controls; the policy demands 1,000."),
        ),
        waivers=(waiver("rebuilt"), waiver(identifier, "expired")),
        comparisons=(
            Comparison(finding="rebuilt", new=(identifier,), gone=("x", "y"), unchanged=(), p_value=0.5, shared=50),
        ),
    )
    page = REPORTS["html"].render(result, None, ReportOptions(decision=made))
    section = page[page.index('id="gate"') : page.index('id="audited"')]
    for text in ("does not let this result pass", "waived", "minimum-controls", "expired", "2027-01-31", "p = 0.5"):
        assert text in section, text
    assert "<b>office</b>" not in page and "&lt;b&gt;office" in section
    assert identifier not in section and "no. 5" in section
    rows = gate_section(result, made)
    assert rows is not None and (rows.comparisons[0].new, rows.comparisons[0].gone) == (1, 2)


def test_without_a_decision_there_is_no_section() -> None:
    result = build(LEAK)
    assert gate_section(result, None) is None
    assert 'id="gate"' not in REPORTS["html"].render(result, None, ReportOptions())


def test_a_decision_on_another_result_is_refused() -> None:
    other = decision(build(LEAK, seed=1))
    with pytest.raises(ResultError, match="gate this result again"):
        REPORTS["html"].render(build(LEAK), None, ReportOptions(decision=other))
