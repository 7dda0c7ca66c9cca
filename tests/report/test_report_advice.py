"""Recommendations, limits and words: rules name known facts, texts keep to the wording, numbers read as they should."""

import re
from importlib.resources import files
from typing import Any

import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build

from privaudit.report import advice, words
from privaudit.report.advice import _load

DATA = ("recommendations.toml", "limits.toml", "identifiers.toml", "references.toml", "glossary.toml")


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for v in value.values() for s in _strings(v)]
    if isinstance(value, list):
        return [s for v in value for s in _strings(v)]
    return [value] if isinstance(value, str) else []


def test_every_rule_names_known_facts_and_sources() -> None:
    known = set(advice.facts(build(LEAK)))
    sources = {reference.key for reference in advice.references()}
    rules = _load("recommendations.toml")["recommendation"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["when"]
        assert set(rule["when"]) <= known
        assert set(rule["sources"]) <= sources
    assert all(set(limit["when"]) <= known for limit in _load("limits.toml")["limit"])


@pytest.mark.parametrize("file", DATA)
def test_texts_promise_nothing(file: str) -> None:
    assert files("privaudit.report").joinpath("data", file).is_file()
    for text in _strings(_load(file)):
        assert not re.search(r"\b(safe|private|secure|guarantee[sd]?)\b", text, re.IGNORECASE), text


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (LEAK, {"withhold-checkpoint", "differential-privacy", "membership-training-length"}),
        (NO_LEAK, {"keep-auditing"}),
        (INCONCLUSIVE, {"state-allowance"}),
        (NO_REFERENCE, {"add-reference", "add-controls"}),
        (Case(applicable=False, membership_applicable=False), {"not-applicable"}),
        (Case(positive="failed", negative="failed"), {"positive-control", "negative-control"}),
        (Case(interrupted=True, is_saturated=False), {"resume", "larger-budget"}),
        (Case(format="torch-zip"), {"unsafe-format"}),
    ],
)
def test_recommendations_follow_from_findings(case: Case, expected: set[str]) -> None:
    given = {item.id for item in advice.recommendations(build(case))}
    assert expected <= given
    assert ("withhold-checkpoint" in given) == any(
        f.name == "rebuilt" and f.status == "found" for f in build(case).verdict.findings
    )


def test_every_recommendation_can_be_reached() -> None:
    cases = [
        LEAK,
        NO_LEAK,
        INCONCLUSIVE,
        NO_REFERENCE,
        Case(applicable=False),
        Case(format="torch-zip", negative="failed"),
    ]
    cases.append(Case(interrupted=True, is_saturated=False, positive="not_run"))
    reached = {item.id for case in cases for item in advice.recommendations(build(case))}
    assert reached == {rule["id"] for rule in _load("recommendations.toml")["recommendation"]}


def test_identifiers_are_the_agreed_ones() -> None:
    assert [item.id for item in advice.identifiers()] == [
        "AML.T0044", "AML.T0024.000", "AML.T0024.001", "ML03:2023", "ML04:2023", "NISTAML.032", "NISTAML.033",
        "MEASURE 2.10", "Opinion 28/2024", "Article 35", "Article 15", "Annex IV", "ISO/IEC 42001:2023",
    ]  # fmt: skip
    for item in advice.identifiers():
        assert re.search(r"\b20\d\d\b", item.date)
        assert not re.search(r"compl(y|iant|iance)|conform", item.relation)


def test_glossary_is_in_alphabetical_order() -> None:
    names = [name.lower() for name, _ in advice.glossary()]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.number(None), "not measured"),
        (words.number(0), "0"),
        (words.number(0.0), "0"),
        (words.number(12345), "12,345"),
        (words.number(0.4567), "0.46"),
        (words.number(1.7e-36), "1.7 × 10⁻³⁶"),
        (words.p_value(0.02), "0.02"),
        (words.p_value(1.0), "1"),
        (words.rate(0.01), "1\u00a0%"),
        (words.rate(0.005), "0.5\u00a0%"),
        (words.duration(8.44), "8.4 s"),
        (words.duration(59.99), "60.0 s"),
        (words.duration(94), "1 min 34 s"),
        (words.duration(7500), "2 h 5 min"),
        (words.images(1), "1 image"),
        (words.power_of_ten(1e-5), "10⁻⁵"),
        (words.plain("a\x00b\u202ec"), "a\ufffdb\ufffdc"),
        (words.plain("x" * 50, 11), "xxxxx…xxxxx"),
        (words.file_name("/a/b/c.pt"), "c.pt"),
        (words.file_name("C:\\a\\c.pt"), "c.pt"),
    ],
)
def test_words(said: str, expected: str) -> None:
    assert said == expected
