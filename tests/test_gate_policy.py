"""Policies, waivers, baselines and comparisons that are honest: what they allow, and that it stays visible."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build, write_audit
from scipy.stats import binomtest
from test_gate_tricks import renamed, seal

from privaudit.cli import run
from privaudit.errors import ConfigError
from privaudit.gate import Rules, decide
from privaudit.gate.comparison import compare, mcnemar_p_value
from privaudit.gate.doubts import MEANING, TOLERABLE, general_doubts, unmeasured
from privaudit.gate.policy import (
    Allow,
    Minimum,
    Policy,
    PolicyFile,
    Tolerance,
    Waiver,
    read_policy,
    records_allowed,
)
from privaudit.gate_decision import GateDecision
from privaudit.identifiers import comparable, repeated
from privaudit.result import AuditResult
from privaudit.result_file import read_result, to_json

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EARLIER = "2026-01-01T00:00:00+00:00"


def judged(result: AuditResult, baseline: AuditResult | None = None, **policy: object) -> GateDecision:
    rules = Rules(PolicyFile(Policy.model_validate(policy), "policy.toml", "0" * 64))
    return decide(result, rules, baseline=baseline, now=NOW)


def status(decision: GateDecision, name: str) -> str:
    return next(check.status for check in decision.checks if check.name == name)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_of_a_policy_is_read(tmp_path: Path) -> None:
    text = """
    fail_on = "rebuilt"
    [allow]
    rebuilt = "2%"
    readable = 4
    [allow.per_class."3"]
    rebuilt = 1
    [allow.per_class."*"]
    readable = "50 %"
    [inconclusive]
    tolerate = ["not-applicable", "allowance-not-confirmed"]
    [minimum]
    budget = "standard"
    budget_seconds = 60
    controls = 100
    records = 50
    fpr = 0.01
    tool_version = "0.1.0"
    [[waiver]]
    target = "rebuilt"
    reason = "public images"
    owner = "privacy office"
    expires = 2027-01-31
    model_sha256 = "00"
    """
    read = read_policy(written(tmp_path, text))
    policy = read.policy
    assert (policy.fail_on, policy.allow.rebuilt, policy.allow.readable) == ("rebuilt", "2%", 4)
    assert policy.allow.per_class["3"].rebuilt == 1 and policy.allow.per_class["*"].readable == "50 %"
    assert policy.inconclusive.tolerate == ("not-applicable", "allowance-not-confirmed")
    assert (policy.minimum.budget, policy.minimum.controls, policy.minimum.records) == ("standard", 100, 50)
    assert policy.waiver[0].expires == date(2027, 1, 31)
    assert read.name == "policy.toml" and len(read.sha256) == 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[allow]\nrebuild = 1", "nearest valid one is 'rebuilt'"),
        ("max_leaked = 1", "found 'max_leaked'"),
        ("[allow]\nrebuilt = 0.02", 'a count such as 4 or a share such as "2%"'),
        ("[allow]\nrebuilt = true", "a count such as 4"),
        ('[allow]\nrebuilt = "120%"', "a share such as"),
        ("[allow]\nrebuilt = -1", "a count of 0 or more"),
        ("[minimum]\ncontrols = 1.5", "a whole number"),
        ("[minimum]\nbudget_seconds = nan", "minimum.budget_seconds"),
        ('[minimum]\nbudget = "huge"', "one of 'quick', 'standard' or 'thorough'"),
        ('[minimum]\ntool_version = "new"', "a version such as"),
        ('[inconclusive]\ntolerate = ["other"]', "inconclusive.tolerate.0"),
        ('[[waiver]]\ntarget = ""', "waiver.0.target"),
        ('[[waiver]]\ntarget = "x"\nexpires = "some day"', "waiver.0.expires"),
        ("[allow", "expected TOML"),
        ("[allow]\nrebuilt = 1000000001", "a count of 0 or more, up to 1000000000"),
        ('[allow]\nreadable = "١٢%"', "a share such as"),
        (f'[allow]\nreadable = "{"0" * 10}.5%"', "a share such as"),
        (f"[minimum]\ncontrols = {'9' * 400}", "a whole number of 0 or more, up to 1000000000"),
        ("[minimum]\nbudget_seconds = true", "a number from 0 to 1000000000"),
        ('[minimum]\nbudget_seconds = "10"', "a number from 0"),
        (f"[minimum]\nbudget_seconds = {'9' * 400}", "a number from 0"),
        ('[minimum]\nfpr = "0.05"', "a number from 0"),
        ("[minimum]\nfpr = 0", "minimum.fpr"),
        ("[minimum]\nfpr = 1.0", "minimum.fpr"),
        (f'[minimum]\ntool_version = "{"9" * 5000}"', "a version such as"),
        ('[minimum]\ntool_version = "1.2.3.4.5.6.7"', "a version such as"),
        ('[minimum]\ntool_version = "١.0"', "a version such as"),
        ('[[waiver]]\ntarget = "x"\nexpires = "2027-01-31"', "a date such as 2027-01-31, without quotes"),
        ('[[waiver]]\ntarget = "x"\nexpires = 4102444800', "a date such as"),
        ('[[waiver]]\ntarget = "x"\nexpires = 2027-01-31T00:00:00Z', "a date such as"),
    ],
)
def test_a_policy_that_cannot_be_understood_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_policy(written(tmp_path, text))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "policy.toml" in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_policy(tmp_path: Path) -> None:
    assert read_policy(written(tmp_path, "\ufeff[allow]\nrebuilt = 4\n")).policy.allow.rebuilt == 4


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path, "[minimum]\nbudget_seconds = 60\ncontrols = 1000000000\n")).policy
    assert (policy.minimum.budget_seconds, policy.minimum.controls) == (60, 10**9)


@pytest.mark.parametrize(
    ("allowance", "n", "expected"), [(3, 10, 3), ("2%", 50, 1), ("2%", 49, 0), ("29%", 100, 29), ("100 %", 7, 7)]
)
def test_shares_are_rounded_down(allowance: int | str, n: int, expected: int) -> None:
    assert records_allowed(allowance, n) == expected


def test_an_empty_policy_allows_nothing() -> None:
    result = build(NO_LEAK)
    assert decide(result, Rules(), now=NOW).exit_code == 0
    assert judged(result).exit_code == 3
    assert judged(result, allow={"rebuilt": 4, "readable": "8%"}).exit_code == 0


def test_options_come_before_the_policy() -> None:
    policy = PolicyFile(Policy.model_validate({"allow": {"rebuilt": 50, "readable": 50}}), "policy.toml", "")
    assert decide(build(LEAK), Rules(policy), now=NOW).exit_code == 0
    assert decide(build(LEAK), Rules(policy, max_leaked=4), now=NOW).exit_code == 1
    assert decide(build(LEAK), Rules(policy, max_leaked=4, fail_on="membership"), now=NOW).exit_code == 3


def test_a_class_above_its_limit_fails_whatever_the_whole_may() -> None:
    allow = {"rebuilt": 50, "readable": 50}
    labels = [r.label for r in build(LEAK).evidence.records if r.leaked]  # type: ignore[union-attr]
    worst = max(set(labels), key=labels.count)
    n = labels.count(worst)
    for limit, code in ((n, 0), (n - 1, 1)):
        decision = judged(build(LEAK), allow={**allow, "per_class": {str(worst): {"rebuilt": limit}}})
        assert decision.exit_code == code
    assert judged(build(LEAK), allow={**allow, "per_class": {"*": {"rebuilt": 0}}}).exit_code == 1
    for labelled in (build(LEAK), build(LEAK, has_labels=False)):
        decision = judged(labelled, allow={**allow, "per_class": {"77": {"rebuilt": 0}}})
        assert (decision.exit_code, status(decision, "class-77-rebuilt")) == (3, "error")
    assert judged(build(LEAK, has_labels=False), allow={**allow, "per_class": {"*": {"rebuilt": 9}}}).exit_code == 3


REASONS = {
    "allowance-not-confirmed": INCONCLUSIVE,
    "no-controls": Case(n_controls=5),
    "not-applicable": Case(applicable=False, n_readable=0),
    "interrupted": Case(n_rebuilt=0, n_readable=0, interrupted=True),
    "budget-not-saturated": Case(n_rebuilt=10, n_readable=0, is_saturated=False),
}


@pytest.mark.parametrize(("code", "case"), REASONS.items(), ids=REASONS)
def test_a_tolerated_reason_passes_and_is_named(code: str, case: Case) -> None:
    allow = {} if code == "allowance-not-confirmed" else {"rebuilt": 30, "readable": 4}
    refused = judged(build(case), allow=allow)
    assert refused.exit_code == 3
    tolerated = judged(build(case), allow=allow, inconclusive={"tolerate": [code]})
    assert tolerated.exit_code == 0
    assert tolerated.verdict.status == "inconclusive"
    assert any(f"Tolerated by policy ({code})" in reason for reason in tolerated.reasons)
    others = sorted(TOLERABLE - {code})
    assert judged(build(case), allow=allow, inconclusive={"tolerate": others}).exit_code == 3


@pytest.mark.parametrize(
    "case", [NO_REFERENCE, Case(positive="failed"), Case(negative="failed"), Case(negative="not_run", n_rebuilt=0)]
)
def test_what_no_policy_can_tolerate(case: Case) -> None:
    policy = {"allow": {"rebuilt": 50, "readable": 50}, "inconclusive": {"tolerate": sorted(TOLERABLE)}}
    assert judged(build(case), **policy).exit_code == 3


@pytest.mark.parametrize("case", [LEAK, NO_LEAK, INCONCLUSIVE, NO_REFERENCE, *REASONS.values()])
def test_every_reason_of_a_verdict_has_a_code(case: Case) -> None:
    result = build(case)
    codes = {doubt.code for doubt in (*general_doubts(result), *unmeasured(result).values())}
    assert "other" not in codes and codes <= set(MEANING)


def test_a_waived_record_stays_visible_and_the_rest_is_judged_alone() -> None:
    result = build(Case(n_rebuilt=1, n_readable=0))
    assert result.evidence is not None
    leaked = next(record for record in result.evidence.records if record.leaked)
    granted = {
        "reason": "taken with consent",
        "owner": "privacy office",
        "expires": date(2026, 6, 1),
        "model_sha256": result.model.sha256,
    }
    allow = {"rebuilt": 4, "readable": 4}
    assert judged(result, allow=allow).exit_code == 3
    for target in (leaked.id, f"rebuilt:{leaked.id}", leaked.id.upper()):
        decision = judged(result, allow=allow, waiver=[{**granted, "target": target}])
        assert (decision.exit_code, decision.waivers[0].status) == (0, "applied")
        assert status(decision, "rebuilt") == status(decision, "waiver") == "waived"
        assert any("1 of 50 records rebuilt" in check.message for check in decision.checks)
    assert judged(result, allow={"rebuilt": 3, "readable": 4}, waiver=[{**granted, "target": leaked.id}]).exit_code == 3


def test_only_new_leaks_fail_and_gone_ones_are_listed() -> None:
    result = build(Case(n_rebuilt=10, n_readable=0))
    allow = {"rebuilt": 4, "readable": 4}
    same = renamed(build(Case(n_rebuilt=10, n_readable=0)), EARLIER)
    more = renamed(build(Case(n_rebuilt=20, n_readable=0)), EARLIER)
    fewer = renamed(build(Case(n_rebuilt=5, n_readable=0)), EARLIER)
    assert judged(result, allow=allow).exit_code == 1
    for baseline, code in ((same, 0), (more, 0), (fewer, 1)):
        decision = judged(result, baseline, allow=allow)
        assert decision.exit_code == code, decision.checks
    assert len(judged(result, more, allow=allow).comparisons[0].gone) == 10
    failing = judged(result, fewer, allow=allow)
    assert len(failing.comparisons[0].new) == 5 and status(failing, "baseline-rebuilt") == "failed"


def test_all_known_leaves_nothing_to_judge() -> None:
    decision = judged(build(LEAK), renamed(build(LEAK), EARLIER), allow={"rebuilt": 4})
    assert status(decision, "membership") == "waived"
    assert "Every record is waived or known" in next(c.message for c in decision.checks if c.name == "membership")


def test_comparing_lists_new_gone_and_unchanged() -> None:
    old, new = build(Case(n_rebuilt=12, n_readable=3)), build(Case(n_rebuilt=10, n_readable=4))
    rebuilt, membership = compare(old, new)
    assert (len(rebuilt.new), len(rebuilt.gone), len(rebuilt.unchanged), rebuilt.shared) == (0, 2, 10, 50)
    assert rebuilt.p_value == mcnemar_p_value(0, 2)
    assert membership.finding == "membership"
    nothing = compare(renamed(old, EARLIER, "x"), new)[0]
    assert (nothing.p_value, nothing.shared, len(nothing.new)) == (None, 0, 10)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_matched_test_is_the_binomial_one(n_new: int, n_gone: int) -> None:
    expected = 1.0 if n_new + n_gone == 0 else binomtest(n_new, n_new + n_gone).pvalue
    assert mcnemar_p_value(n_new, n_gone) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p_value(n_new, n_gone) == mcnemar_p_value(n_gone, n_new)


@given(st.text(), st.text())
def test_ids_compare_as_they_look(one: str, other: str) -> None:
    assert comparable(comparable(one)) == comparable(one)
    assert (repeated([one, other]) is None) == (comparable(one) != comparable(other))


def test_a_decision_is_json_without_nan() -> None:
    decision = judged(build(LEAK), renamed(build(NO_LEAK), EARLIER))
    document = json.loads(decision.model_dump_json(), parse_constant=pytest.fail)
    assert GateDecision.model_validate(document) == decision
    assert (document["schema_version"], document["exit_code"], document["policy"]) == ("1.0", 1, "policy.toml")


PAGE = (Path(__file__).parents[1] / "docs" / "gate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", MEANING)
def test_every_reason_is_documented_with_its_meaning(code: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `") and f"`{code}`" in line.split("|")[1])
    assert row.split("|")[2].strip() == ("yes" if code in TOLERABLE else "never")
    assert MEANING[code] in row or code.startswith("instrument")


@pytest.mark.parametrize("table", [Policy, Allow, Tolerance, Minimum, Waiver])
def test_every_key_of_a_policy_is_documented(table: type[BaseModel]) -> None:
    for name in table.model_fields:
        assert any(
            f"{before}{name}{after}" in PAGE for before, after in (("`", "`"), ("`", "."), (".", "`"), (".", "."))
        ), name


def test_the_documented_policy_is_one(tmp_path: Path) -> None:
    text = PAGE.split("```toml")[1].split("```")[0]
    policy = read_policy(written(tmp_path, text)).policy
    assert policy.waiver[0].owner == "privacy office" and policy.allow.per_class["3"].rebuilt == 1


def test_a_result_of_an_older_version_is_judged_by_the_rule_of_today(tmp_path: Path) -> None:
    """Verdicts once had neither totals nor p-values, and may have been milder; what they say is not believed."""
    for case, code in ((LEAK, 1), (NO_LEAK, 0), (INCONCLUSIVE, 3)):
        document = json.loads(to_json(build(case)))
        for finding in document["verdict"]["findings"]:
            for name in ("total", "threshold", "fpr", "p_value"):
                del finding[name]
        document["verdict"]["status"] = "no_leak_found"
        path = tmp_path / "result.json"
        path.write_text(json.dumps(seal(document)), encoding="utf-8")
        assert decide(read_result(path), Rules(), now=NOW).exit_code == code


@pytest.mark.parametrize(
    ("options", "code"), [([], 0), (["--fail-on-new"], 1), (["--json", "-q"], 0), (["--json", "--fail-on-new"], 1)]
)
def test_compare_on_the_command_line(
    options: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (write_audit(tmp_path / name, case, False) for name, case in (("old", NO_LEAK), ("new", LEAK)))
    assert run(["compare", str(old), str(new), *options]) == code
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    is_told = "▲ rebuilt               30     0          0  p = 1.9e-09" in lines
    assert is_told == ("-q" not in options and "--json" not in options) == bool(lines)
    if lines:
        assert lines[-1].startswith("▲ compare: new leaks, 30 rebuilt and 50 membership readable, exit ")
    assert bool(captured.out) == ("--json" in options)
    if captured.out:
        assert [found["finding"] for found in json.loads(captured.out)["comparisons"]] == ["rebuilt", "membership"]


def test_compare_without_common_ids_says_how_and_makes_no_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = write_audit(tmp_path, LEAK, False), tmp_path / "old.json"
    old.write_text(to_json(renamed(build(NO_LEAK), EARLIER, "x")), encoding="utf-8")
    assert run(["compare", str(old), str(new)]) == 0
    assert run(["compare", str(old), str(new), "--fail-on-new"]) == 3
    said = capsys.readouterr().err
    assert "set PRIVAUDIT_SALT to one value for both scans, or --reveal" in said
    assert "no records in common, so no test" in said


def test_format_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_audit(tmp_path, NO_LEAK, False)
    assert run(["gate", str(path), "--format", "sarif"]) == 2
    assert "expected --out DIR beside --format" in capsys.readouterr().err
    assert [found.name for found in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("name", ["result", "policy", "baseline", "model"])
@pytest.mark.parametrize("how", ["named", "symbolic link", "hard link"])
def test_a_gate_does_not_remove_what_it_is_to_read(
    name: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`gate.json` of an earlier run is removed first, so nothing that is read may lie in its place."""
    out = tmp_path / "out"
    out.mkdir()
    text = write_audit(tmp_path / "scan", LEAK, False).read_text(encoding="utf-8")
    (out / "gate.json").write_text(text, encoding="utf-8")
    paths = dict.fromkeys(("result", "policy", "baseline", "model"), tmp_path / "other")
    paths[name] = out / "gate.json"
    if how != "named":
        paths[name] = tmp_path / "link"
        make = paths[name].symlink_to if how == "symbolic link" else paths[name].hardlink_to
        make(out / "gate.json")
    options = [option for key in ("policy", "baseline", "model") for option in (f"--{key}", str(paths[key]))]
    assert run(["gate", str(paths["result"]), *options, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"expected the {name} elsewhere than gate.json in --out" in said and len(said.splitlines()) == 1
    assert (out / "gate.json").read_text(encoding="utf-8") == text


def test_exit_zero_reports_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_audit(tmp_path, LEAK, False)
    assert run(["gate", str(path), "--exit-zero"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "leak_found\n"
    assert "gate: exit 0, reported only (--exit-zero)" in captured.err


def test_json_of_gate_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_audit(tmp_path, LEAK, False)
    assert run(["gate", str(path), "--json", "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.out == (tmp_path / "out" / "gate.json").read_text(encoding="utf-8") and captured.err == ""
    assert run(["verify", str(path), "--json"]) == 0
    captured = capsys.readouterr()
    result = build(LEAK)
    assert captured.err == "" and json.loads(captured.out) == {
        "intact": True,
        "model_checked": False,
        "result_sha256": result.self_sha256,
        "model_sha256": result.model.sha256,
    }
