"""JUnit XML: each rule of the gate as a test case.

In: a result, and a gate's decision where there is one, whose checks are then the test cases. Out: XML text. A leak is a
failure; inconclusive is an error; what does not apply, was not run or is waived is skipped, and then the verdict's own
test case says whether that matters. Carries no pixels and no names of records.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal
from xml.etree import ElementTree

from privaudit.gate_decision import CheckStatus, GateDecision
from privaudit.report import sentences, words
from privaudit.report.decision import judged, record_hider
from privaudit.report.figures import finding_figures, reason_with_figures
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.pictures import Pictures
from privaudit.result import AuditResult, Finding

Outcome = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True)
class Case:
    """One test case and what came of it."""

    name: str
    outcome: Outcome
    message: str


class JunitReport(AbstractReport):
    """For CI systems that show test results."""

    name: ClassVar[str] = "junit"
    file_name: ClassVar[str] = "result.junit.xml"

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """One suite, named after the tool, with the attack's time."""
        decision = options.decision
        result = judged(result, decision)
        cases = tuple(_cases(result) if decision is None else _checks(result, decision))
        counts = {
            "tests": len(cases),
            "failures": sum(case.outcome == "failure" for case in cases),
            "errors": sum(case.outcome == "error" for case in cases),
            "skipped": sum(case.outcome == "skipped" for case in cases),
        }
        attributes = {name: str(count) for name, count in counts.items()}
        root = ElementTree.Element("testsuites", {"name": "privaudit", **attributes})
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": "privaudit.gate", **attributes, "time": f"{result.attack.seconds:.3f}"}
        )
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in (("model.sha256", result.model.sha256), ("verdict", result.verdict.status)):
            ElementTree.SubElement(properties, "property", {"name": name, "value": words.plain(value)})
        for case in cases:
            _append(suite, case)
        ElementTree.indent(root, " ")
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _append(suite: ElementTree.Element, case: Case) -> None:
    element = ElementTree.SubElement(
        suite, "testcase", {"classname": "privaudit.gate", "name": case.name, "time": "0.000"}
    )
    message = words.plain(case.message, 2000)
    if case.outcome == "passed":
        ElementTree.SubElement(element, "system-out").text = message
    else:
        child = ElementTree.SubElement(element, case.outcome, {"message": message})
        if case.outcome != "skipped":
            child.set("type", case.name)
            child.text = message


def _cases(result: AuditResult) -> Iterator[Case]:
    verdict = result.verdict
    for finding in verdict.findings:
        is_selected = verdict.fail_on in (finding.name, "any") and result.instrument.negative_control != "failed"
        yield Case(finding.name, _finding_outcome(finding, is_selected), reason_with_figures(result, finding))
    for name in ("positive_control", "negative_control"):
        state: str = getattr(result.instrument, name)
        outcomes: dict[str, Outcome] = {"passed": "passed", "failed": "error", "not_run": "skipped"}
        yield Case(name, outcomes[state], f"{name.replace('_', ' ')}: {words.CONTROL_STATE[state]}")
    outcome: dict[str, Outcome] = {"no_leak_found": "passed", "leak_found": "failure", "inconclusive": "error"}
    yield Case("verdict", outcome[verdict.status], " ".join((sentences.headline(result), *verdict.reasons)))


def _checks(result: AuditResult, decision: GateDecision) -> Iterator[Case]:
    """The gate's checks, and last what the process returns."""
    outcomes: dict[CheckStatus, Outcome] = {
        "passed": "passed",
        "failed": "failure",
        "error": "error",
        "skipped": "skipped",
        "waived": "skipped",
    }
    hide = record_hider(result, decision)
    seen: Counter[str] = Counter()
    for check in decision.checks:
        seen[check.name] += 1
        name = check.name if seen[check.name] == 1 else f"{check.name}-{seen[check.name]}"
        finding = next((found for found in result.verdict.findings if found.name == check.name), None)
        figures = None if finding is None else finding_figures(result, finding)
        message = check.message if figures is None else f"{check.message} {figures.sentence()}"
        waived = "Waived: " if check.status == "waived" else ""
        yield Case(name, outcomes[check.status], f"{waived}{hide(message)}")
    codes: dict[int, Outcome] = {0: "passed", 1: "failure"}
    reasons = (hide(reason) for reason in decision.reasons)
    yield Case("exit-code", codes.get(decision.exit_code, "error"), " ".join((f"{decision.exit_code}.", *reasons)))


def _finding_outcome(finding: Finding, is_selected: bool) -> Outcome:
    outcomes: dict[str, Outcome] = {
        "found": "failure" if is_selected else "error",
        "not_found": "passed",
        "inconclusive": "error",
        "not_applicable": "skipped",
        "not_run": "skipped",
    }
    return outcomes[finding.status]
