"""Cases and renderings that the tests of every machine format share."""

from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build, decision, picture_arrays

from privaudit.gate_decision import GateDecision
from privaudit.report import REPORTS, Pictures, ReportOptions
from privaudit.result import AuditResult

CASES = {
    "leak": LEAK,
    "no_leak": NO_LEAK,
    "inconclusive": INCONCLUSIVE,
    "no_reference": NO_REFERENCE,
    "not_applicable": Case(applicable=False, membership_applicable=False, format="torch-zip"),
    "membership_only": Case(n_rebuilt=0, max_leaked=4),
    "instrument": Case(positive="failed", negative="failed"),
    "hostile": Case(path="../../etc/<b>|`@you\x01\u202e.pt"),
}
DECIDED = ("leak", "no_leak", "inconclusive", "not_applicable")


def render(format_name: str, case: Case, is_decided: bool = False) -> str:
    """As whoever reveals everything would: formats for machines must not care."""
    result = build(case)
    pictures = Pictures(**picture_arrays(result, case))
    options = ReportOptions(reveal=True, decision=decision(result) if is_decided else None)
    return REPORTS[format_name].render(result, pictures, options)


def rendered(format_name: str, result: AuditResult, decided: GateDecision | None = None) -> str:
    return REPORTS[format_name].render(result, None, ReportOptions(decision=decided))


def named_records() -> AuditResult:
    """A result of a scan with --reveal: ids are names of files."""
    result = build(LEAK)
    assert result.evidence is not None
    records = tuple(
        record.model_copy(update={"id": f"cats/Jane Doe ({i}).png"}) for i, record in enumerate(result.evidence.records)
    )
    return result.model_copy(update={"evidence": result.evidence.model_copy(update={"records": records})})
