"""SARIF, JUnit and Markdown: structure, consistency with the verdict, nothing personal in them."""

import json
import xml.etree.ElementTree as ET
from typing import Any

import jsonschema
import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build, picture_arrays

from privaudit.report import REPORTS, Pictures, ReportOptions

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
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
ARTIFACT_LOCATION = {
    "type": "object",
    "required": ["uri"],
    "properties": {
        "uri": {"type": "string", "pattern": r"^(?!/)(?![A-Za-z][A-Za-z0-9+.-]*:)(?!.*\.\.)[A-Za-z0-9._~%/-]+$"},
        "index": {"type": "integer", "minimum": 0},
    },
}
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "artifacts", "results", "invocations"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "version", "rules"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "name", "shortDescription", "defaultConfiguration"],
                                            "properties": {
                                                "id": {"pattern": "^PRIV00[1-7]$"},
                                                "shortDescription": MESSAGE,
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "properties": {"exitCode": {"enum": [0, 1, 3]}},
                        },
                    },
                    "artifacts": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["location", "hashes"],
                            "properties": {
                                "location": ARTIFACT_LOCATION,
                                "hashes": {
                                    "type": "object",
                                    "required": ["sha-256"],
                                    "properties": {"sha-256": {"pattern": "^[0-9a-f]{64}$"}},
                                },
                            },
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
                            "properties": {
                                "level": {"enum": ["error", "warning", "note"]},
                                "message": MESSAGE,
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "type": "object",
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "properties": {"artifactLocation": ARTIFACT_LOCATION},
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
FIRED = {
    "leak": ["PRIV001", "PRIV007"],
    "no_leak": [],
    "inconclusive": ["PRIV002"],
    "no_reference": ["PRIV002"],
    "not_applicable": ["PRIV002", "PRIV003", "PRIV005"],
    "membership_only": ["PRIV007"],
    "instrument": ["PRIV001", "PRIV002", "PRIV004", "PRIV007"],
    "hostile": ["PRIV001", "PRIV007"],
}


def render(format_name: str, case: Case) -> str:
    result = build(case)
    pictures = Pictures(**picture_arrays(result, case))
    return REPORTS[format_name].render(result, pictures, ReportOptions(reveal=True))


@pytest.mark.parametrize("name", CASES)
def test_sarif_is_valid_and_each_rule_fires_at_most_once(name: str) -> None:
    document = json.loads(render("sarif", CASES[name]))
    jsonschema.Draft202012Validator(SARIF).validate(document)
    run = document["runs"][0]
    assert [r["ruleId"] for r in run["results"]] == FIRED[name]
    for fired in run["results"]:
        assert run["tool"]["driver"]["rules"][fired["ruleIndex"]]["id"] == fired["ruleId"]


def test_sarif_lists_every_rule_with_its_level() -> None:
    rules = json.loads(render("sarif", NO_LEAK))["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [f"PRIV00{i}" for i in range(1, 8)]
    assert all(rule["defaultConfiguration"]["level"] in ("error", "warning") for rule in rules)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models/a b.safetensors", "models/a%20b.safetensors"),
        ("/home/somebody/m.pt", "m.pt"),
        ("../m.pt", "m.pt"),
        ("C:\\Users\\somebody\\m.pt", "m.pt"),
        ("file:m.pt", "file%3Am.pt"),
    ],
)
def test_sarif_uris_are_relative(path: str, uri: str) -> None:
    run = json.loads(render("sarif", Case(path=path)))["runs"][0]
    assert run["artifacts"][0]["location"]["uri"] == uri


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


@pytest.mark.parametrize("name", CASES)
def test_markdown_fits_a_comment_and_shows_both_findings(name: str) -> None:
    text = render("markdown", CASES[name])
    assert len(text) < 8_000
    assert "| Rebuilt images |" in text
    assert "| Membership readable |" in text
    tables = [line for line in text.splitlines() if line.startswith("| Rebuilt") or line.startswith("| Member")]
    assert {line.replace("\\|", "").count("|") for line in tables if "images" in line or "readable" in line} <= {8, 3}


def test_markdown_escapes_foreign_text() -> None:
    hostile = "<img src=x onerror=1> [a](http://b) @maintainer | `c` *d*"
    result = build(LEAK)
    verdict = result.verdict.model_copy(update={"reasons": (hostile,)})
    text = REPORTS["markdown"].render(result.model_copy(update={"verdict": verdict}), None, ReportOptions())
    assert "<img" not in text
    assert "@maintainer" not in text
    assert "\\[a\\](http" in text
    assert "\\`c\\` \\*d\\*" in text


@pytest.mark.parametrize("format_name", ["markdown", "sarif", "junit"])
def test_no_pixels_and_no_record_names(format_name: str) -> None:
    result = build(LEAK)
    text = render(format_name, LEAK)
    assert result.evidence is not None
    assert not any(record.id in text for record in result.evidence.records)
    assert "base64" not in text
