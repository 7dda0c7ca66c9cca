"""JUnit XML: a reader that others wrote sees the outcomes, and green only where the exit code is 0."""

import xml.etree.ElementTree as ET
from pathlib import Path

import junitparser
import pytest
from formats_cases import CASES, DECIDED, render, rendered
from result_builder import LEAK, build, decision


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("leak", {"rebuilt": "failure", "membership": "failure", "verdict": "failure"}),
        ("no_leak", {"rebuilt": "passed", "membership": "passed", "verdict": "passed"}),
        ("inconclusive", {"rebuilt": "error", "membership": "error", "verdict": "error"}),
        ("no_reference", {"rebuilt": "skipped", "membership": "skipped", "verdict": "error"}),
        ("not_applicable", {"rebuilt": "skipped", "membership": "skipped", "verdict": "error"}),
        ("instrument", {"positive_control": "error", "rebuilt": "error", "verdict": "error"}),
        ("hostile", {"verdict": "failure"}),
    ],
)
def test_junit_outcomes(name: str, outcomes: dict[str, str]) -> None:
    root = ET.fromstring(render("junit", CASES[name]))
    suite = root[0]
    found = {
        case.get("name"): next((e.tag for e in case if e.tag in ("failure", "error", "skipped")), "passed")
        for case in suite.iter("testcase")
    }
    assert list(found) == ["rebuilt", "membership", "positive_control", "negative_control", "verdict"]
    assert {case: found[case] for case in outcomes} == outcomes
    for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(attribute, "")) == list(found.values()).count(tag)
    assert int(suite.get("tests", "")) == len(found)


@pytest.mark.parametrize("name", CASES)
def test_junit_is_green_only_with_exit_code_zero(name: str) -> None:
    root = ET.fromstring(render("junit", CASES[name]))
    is_green = root.get("failures") == root.get("errors") == "0"
    assert is_green == (build(CASES[name]).verdict.status == "no_leak_found")


def read_back(text: str, tmp_path: Path) -> junitparser.TestSuite:
    path = tmp_path / "result.junit.xml"
    path.write_text(text, encoding="utf-8")
    document = junitparser.JUnitXml.fromfile(str(path))
    (suite,) = document
    assert (document.tests, document.failures, document.errors, document.skipped) == (
        suite.tests, suite.failures, suite.errors, suite.skipped,
    )  # fmt: skip
    return suite


def outcome(case: junitparser.TestCase) -> str:
    if case.is_passed:
        return "passed"
    return "skipped" if case.is_skipped else type(case.result[0]).__name__.lower()


@pytest.mark.parametrize("is_decided", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_junitparser_reads_it_back(name: str, is_decided: bool, tmp_path: Path) -> None:
    suite = read_back(render("junit", CASES[name], is_decided), tmp_path)
    found = [outcome(case) for case in suite]
    assert suite.tests == len(found)
    assert (suite.failures, suite.errors, suite.skipped) == tuple(
        found.count(kind) for kind in ("failure", "error", "skipped")
    )
    assert all(case.result[0].message for case in suite if outcome(case) != "passed")
    before = (suite.tests, suite.failures, suite.errors, suite.skipped)
    suite.update_statistics()
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == before


@pytest.mark.parametrize("name", DECIDED)
def test_checks_of_a_gate_are_the_cases(name: str, tmp_path: Path) -> None:
    suite = read_back(render("junit", CASES[name], is_decided=True), tmp_path)
    assert {case.name: outcome(case) for case in suite} == {
        "rebuilt": "failure",
        "membership": "skipped",
        "minimum-controls": "passed",
        "baseline": "skipped",
        "model-digest": "error",
        "exit-code": "failure",
    }


def test_what_is_waived_says_so_with_its_figures(tmp_path: Path) -> None:
    cases = {case.name: case for case in read_back(render("junit", LEAK, is_decided=True), tmp_path)}
    message = cases["membership"].result[0].message
    assert message.startswith("Waived: 50 readable, 0 allowed; waived. Counted 50 of 50, 95 % bounds")
    assert cases["exit-code"].result[0].message == "1. Rebuilt images are above the allowance."


@pytest.mark.parametrize(("code", "expected"), [(0, "passed"), (1, "failure"), (2, "error"), (3, "error")])
def test_the_last_case_is_the_exit_code(code: int, expected: str, tmp_path: Path) -> None:
    result = build(LEAK)
    suite = read_back(rendered("junit", result, decision(result, exit_code=code)), tmp_path)
    assert [(case.name, outcome(case)) for case in suite][-1] == ("exit-code", expected)


def test_checks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    result = build(LEAK)
    base = decision(result)
    suite = read_back(rendered("junit", result, base.model_copy(update={"checks": base.checks[:1] * 3})), tmp_path)
    assert [case.name for case in suite] == ["rebuilt", "rebuilt-2", "rebuilt-3", "exit-code"]
