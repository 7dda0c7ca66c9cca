"""Tricks to get a green gate dishonestly, on finished results: each must end in 1, 2 or 3 and say why.

Those that need a scan are in `test_gate_tricks_scan.py`. What a file can never show is in docs/gate.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, Case, build, write_audit

from privaudit.cli import run
from privaudit.errors import PrivauditError
from privaudit.gate import Rules, decide
from privaudit.gate.checks import all_checks
from privaudit.gate.policy import Policy
from privaudit.result import AuditResult
from privaudit.result_file import read_result, sealed, to_json, write_private

Document = dict[str, Any]
TRUE_MODEL = b"the weights that were scanned"


def seal(document: Document) -> Document:
    """What anybody can do with the source at hand: the sum of an edited file, recomputed."""
    body = {key: value for key, value in document.items() if key != "self_sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**body, "self_sha256": sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}


def document_of(case: Case = LEAK) -> Document:
    return json.loads(to_json(build(case)))


def written(path: Path, document: Document) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def gated(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = run(["gate", *map(str, arguments)])
    captured = capsys.readouterr()
    assert code != 0 or captured.err, "a green gate says what it rests on"
    return code, captured.err


def edited(tmp_path: Path, edit: Callable[[Document], None], case: Case = LEAK) -> Path:
    document = document_of(case)
    edit(document)
    return written(tmp_path / "result.json", seal(document))


# Edited counts, with the sum recomputed.


def hide_the_count(document: Document) -> None:
    document["evidence"]["calibrated_threshold"]["members_leaked"] = 0


def hide_the_flags(document: Document) -> None:
    hide_the_count(document)
    for record in document["evidence"]["records"]:
        record["leaked"] = False


def hide_behind_a_threshold(document: Document) -> None:
    hide_the_flags(document)
    document["evidence"]["calibrated_threshold"].update(ssim=0.99, interval_low=0.0, interval_high=3.5565, p_value=1.0)


def hide_behind_quantiles(document: Document) -> None:
    hide_behind_a_threshold(document)
    document["evidence"]["calibrated_threshold"].update(control_quantile=0.99)


def hide_behind_a_decoy(document: Document) -> None:
    for record in document["evidence"]["records"]:
        if record["leaked"]:
            record.update(leaked=False, nearer_decoy="mean of the reference")
    hide_the_count(document)


def hide_membership(document: Document) -> None:
    document["evidence"]["membership"].update(members_found=0, controls_found=0, threshold=1e-9)
    for record in document["evidence"]["records"]:
        record["membership_found"] = False


def declare_membership_inapplicable(document: Document) -> None:
    document["evidence"]["membership"].update(
        members_found=0, controls_found=0, threshold=None, applicable=False, reason="It is a convolution."
    )
    for record in document["evidence"]["records"]:
        record["membership_found"] = False


def declare_membership_uncalibrated(document: Document) -> None:
    declare_membership_inapplicable(document)
    document["evidence"]["membership"]["applicable"] = True


def declare_it_uncalibrated(document: Document) -> None:
    hide_the_flags(document)
    document["evidence"]["calibrated_threshold"].update(ssim=None, controls_leaked=0, p_value=None)


def declare_the_attack_inapplicable(document: Document) -> None:
    document["preflight"]["applicable"] = False


def claim_more_controls(document: Document) -> None:
    document["evidence"]["controls"] = 50_000


def claim_more_members(document: Document) -> None:
    document["evidence"]["members"] = 50_000


def claim_chance(document: Document) -> None:
    document["evidence"]["calibrated_threshold"]["p_value"] = 1.0


def narrow_the_interval(document: Document) -> None:
    document["evidence"]["calibrated_threshold"]["interval_high"] = 0.0


def rewrite_the_verdict(document: Document) -> None:
    document["verdict"]["status"] = "no_leak_found"


def rewrite_a_finding(document: Document) -> None:
    document["verdict"]["findings"][0].update(status="not_found", count=0)


def drop_a_finding(document: Document) -> None:
    del document["verdict"]["findings"][0]


def empty_the_records(document: Document) -> None:
    document["evidence"].update(records=[], members=0)


def claim_work(document: Document) -> None:
    document["attack"]["steps"] = 10**6


def invent_a_status(document: Document) -> None:
    document["attack"]["runs"][0]["status"] = "fine"


def leave_out_the_start(document: Document) -> None:
    document["reproduce"]["started"] = ""


EDITS = {
    hide_the_count: "0 members leaked and 30 leaked records",
    hide_the_flags: "not leaked with SSIM",
    hide_behind_a_threshold: "a threshold of 0.9900 and quantiles of",
    hide_behind_quantiles: "a control quantile of 0.9900, and scores whose quantile is",
    hide_behind_a_decoy: "which is not among the decoys",
    hide_membership: "a membership threshold of 0.0000 below every control",
    declare_membership_inapplicable: "membership distances where the test does not apply",
    declare_membership_uncalibrated: "no membership threshold, where the distances of 500 controls give one",
    declare_it_uncalibrated: "no threshold, where the scores of 500 controls give one",
    declare_the_attack_inapplicable: "attack runs on a network that no attack applies to",
    claim_more_controls: "50000 controls and 500 scores",
    claim_more_members: "50000 members and 50 records",
    claim_chance: "a p-value of 1.0",
    narrow_the_interval: "an interval of",
    rewrite_the_verdict: "the verdict no_leak_found, where the evidence says leak_found",
    rewrite_a_finding: "rebuilt with 0 records",
    drop_a_finding: "findings membership in the verdict",
    empty_the_records: "an empty list of records",
    claim_work: "1000000 steps of attack",
    invent_a_status: "an attack run that ended as 'fine'",
    leave_out_the_start: "expected the start of the scan as an ISO 8601 time",
}


@pytest.mark.parametrize(("edit", "words"), EDITS.items(), ids=[edit.__name__ for edit in EDITS])
def test_edited_counts_with_a_recomputed_sum(edit, words, tmp_path, capsys):
    code, said = gated(capsys, edited(tmp_path, edit))
    assert code == 2
    assert words in said
    assert len(said.splitlines()) == 1


def test_an_edit_without_a_recomputed_sum(tmp_path, capsys):
    document = document_of()
    hide_the_count(document)
    code, said = gated(capsys, written(tmp_path / "result.json", document))
    assert (code, "found it edited" in said) == (2, True)


# Files that are no results.


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[: len(text) // 2], "expected JSON"),
        (lambda text: "", "expected JSON"),
        (lambda text: text.replace('"seconds": 84.0', '"seconds": NaN'), "the number NaN"),
        (lambda text: text.replace('"seconds": 84.0', '"seconds": Infinity'), "the number Infinity"),
        (lambda text: text.replace('"seconds": 84.0', '"seconds": 1e999'), "expected JSON"),
        (lambda text: text.replace('"evidence"', '"evidence": null, "evidence"', 1), "'evidence' twice"),
        (lambda text: text.replace('"schema_version": "1', '"schema_version": "0', 1), "schema_version"),
        (lambda text: "[" * 200_000, "expected JSON"),
    ],
    ids=["truncated", "empty", "NaN", "infinity", "overflow", "name twice", "older schema", "too deep"],
)
def test_a_file_that_is_no_result(spoil, words, tmp_path, capsys):
    path = tmp_path / "result.json"
    path.write_text(spoil(to_json(build(NO_LEAK))), encoding="utf-8")
    code, said = gated(capsys, path)
    assert (code, words in said) == (2, True), said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_another_encoding(encoding, tmp_path, capsys):
    path = tmp_path / "result.json"
    path.write_bytes(to_json(build(NO_LEAK)).encode(encoding))
    code, said = gated(capsys, path)
    assert (code, "expected JSON" in said) == (2, True)


def test_nothing_scanned(tmp_path, capsys):
    result = build(Case(has_reference=False, applicable=False))
    path = written(tmp_path / "result.json", json.loads(to_json(result)))
    code, said = gated(capsys, path, "--exit-zero")
    assert (code, "neither an attack that ran nor reference images" in said) == (2, True)


def test_a_crash_in_the_middle_of_writing(tmp_path, monkeypatch, capsys):
    path = tmp_path / "result.json"
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_private(path, to_json(build(NO_LEAK)).encode())
    assert list(tmp_path.iterdir()) == []
    code, said = gated(capsys, path)
    assert (code, "no such file" in said) == (2, True)


def test_a_gate_that_fails_leaves_no_decision_of_an_earlier_one(tmp_path, capsys):
    path, out = write_audit(tmp_path, NO_LEAK, with_pictures=False), tmp_path / "out"
    assert gated(capsys, path, "--out", out)[0] == 0
    assert json.loads((out / "gate.json").read_text())["exit_code"] == 0
    path.write_text("{")
    code, said = gated(capsys, path, "--out", out)
    assert (code, "expected JSON" in said) == (2, True)
    assert not (out / "gate.json").exists()


# The model.


def about(model: bytes, case: Case = NO_LEAK) -> AuditResult:
    result = build(case)
    described = result.model.model_copy(update={"sha256": sha256(model).hexdigest()})
    return sealed(result.model_copy(update={"model": described}))


def test_a_result_of_another_model(tmp_path, capsys):
    path = written(tmp_path / "result.json", json.loads(to_json(about(TRUE_MODEL))))
    model = tmp_path / "model.safetensors"
    model.write_bytes(TRUE_MODEL)
    assert gated(capsys, path, "--model", model)[0] == 0
    model.write_bytes(b"another model, swapped in after the scan")
    code, said = gated(capsys, path, "--model", model, "--exit-zero")
    assert (code, "scan this file" in said) == (2, True)


def test_a_link_that_points_elsewhere_after_the_scan(tmp_path, capsys):
    path = written(tmp_path / "result.json", json.loads(to_json(about(TRUE_MODEL))))
    (tmp_path / "scanned").write_bytes(TRUE_MODEL)
    (tmp_path / "released").write_bytes(b"other weights")
    link = tmp_path / "model.safetensors"
    link.symlink_to("scanned")
    code, said = gated(capsys, path, "--model", link)
    assert (code, "is a symbolic link" in said) == (0, True)
    link.unlink()
    link.symlink_to("released")
    code, said = gated(capsys, path, "--model", link)
    assert (code, "scan this file" in said) == (2, True)


def test_a_result_of_the_last_release_left_in_the_folder(tmp_path, capsys):
    """The scan of the new model crashed; its folder still holds the old result."""
    path = write_audit(tmp_path, NO_LEAK, with_pictures=False)
    model = tmp_path / "new.safetensors"
    model.write_bytes(b"the new model")
    assert gated(capsys, path)[1].count("No --model was given") == 1
    assert gated(capsys, path, "--model", model)[0] == 2


@pytest.mark.parametrize("kind", ["missing", "folder", "index without shards"])
def test_a_model_that_cannot_be_hashed(kind, tmp_path, capsys):
    path = write_audit(tmp_path, NO_LEAK, with_pictures=False)
    model = tmp_path / "model.safetensors.index.json"
    if kind == "folder":
        model.mkdir()
    elif kind == "index without shards":
        model.write_text('{"weight_map": {"a": "gone.safetensors"}}')
    code, said = gated(capsys, path, "--model", model)
    assert (code, "expected" in said) == (2, True)


# The instrument and the work.


@pytest.mark.parametrize("control", ["positive", "negative"])
def test_an_instrument_that_was_not_checked_is_never_green(control, tmp_path, capsys):
    path = write_audit(tmp_path, Case(n_rebuilt=0, n_readable=0, max_leaked=4, max_readable=4, **{control: "not_run"}))
    code, said = gated(capsys, path, "--exit-zero")
    assert (code, f"The {control} control of the instrument was not run" in said) == (3, True)
    policy = tmp_path / "policy.toml"
    policy.write_text('[inconclusive]\ntolerate = ["instrument-not-run"]\n')
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "inconclusive.tolerate" in said) == (2, True)


def no_steps(document: Document) -> None:
    attack = document["attack"]
    attack.update(steps=0, reconstructions=0, runs=[{**run, "steps": 0} for run in attack["runs"]])


def test_a_budget_of_no_steps(tmp_path, capsys):
    document = document_of(NO_LEAK)
    no_steps(document)
    document["verdict"]["status"] = "inconclusive"
    path = written(tmp_path / "result.json", seal(document))
    policy = tmp_path / "policy.toml"
    policy.write_text('[allow]\nrebuilt = 4\nreadable = 4\n[inconclusive]\ntolerate = ["attack-incomplete"]\n')
    for options in ([], ["--policy", policy]):
        code, said = gated(capsys, path, *options)
        assert (code, "not one step of it was run" in said) == (3, True)


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        ('budget = "thorough"', "Budget standard; the policy demands thorough"),
        ("budget_seconds = 3600", "84 seconds of attack; the policy demands 3600"),
        ("controls = 1000", "500 controls; the policy demands 1000"),
        ("fpr = 0.02", "0.01 as false-positive rate; the policy demands 0.02"),
        ("records = 51", "50 records of the reference; the policy demands 51"),
        ('tool_version = "0.2"', "Scanned with privaudit 0.1.0; the policy demands 0.2"),
    ],
)
def test_less_than_the_policy_demands(demand, words, tmp_path, capsys):
    path = write_audit(tmp_path, NO_LEAK, with_pictures=False)
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[allow]\nrebuilt = 4\nreadable = 4\n[minimum]\n{demand}\n")
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, words in said) == (3, True), said


@pytest.mark.parametrize("narrowed", [{"restarts": 1}, {"time_limit_s": 1.0}, {"candidates": 1}])
def test_a_budget_narrowed_by_hand(narrowed, tmp_path, capsys):
    def narrow(document: Document) -> None:
        document["reproduce"]["config"].update(narrowed)

    path = edited(tmp_path, narrow, NO_LEAK)
    policy = tmp_path / "policy.toml"
    policy.write_text('[allow]\nrebuilt = 4\nreadable = 4\n[minimum]\nbudget = "standard"\n')
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "set by hand" in said) == (3, True)


def test_an_allowance_that_came_with_the_model(tmp_path, capsys):
    """A privaudit.toml beside a checkpoint may come from whoever sent it; with a policy its allowances do not count."""
    path = write_audit(tmp_path, Case(max_leaked=50, max_readable=50), with_pictures=False)
    code, said = gated(capsys, path)
    assert (code, "allowances: 50 rebuilt, 50 readable" in said) == (0, True)
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "above the allowance of 0" in said) == (1, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "(50 rebuilt, 40 readable, fail on rebuilt) from the result; name --policy or --max-leaked or --max-re"),
        (["--max-leaked=50"], "(40 readable, fail on rebuilt) from the result; name --policy or --max-readable or"),
        (["--max-leaked=1", "--max-readable=1", "--fail-on=any"], ""),
        (["--policy"], ""),
    ],
)
def test_allowances_that_only_the_result_states_are_named(options, told, tmp_path, capsys):
    path = write_audit(tmp_path, Case(max_leaked=50, max_readable=40, fail_on="rebuilt"), with_pictures=False)
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    _, said = gated(capsys, path, *options, *([policy] if "--policy" in options else []))
    assert (told in said, "from the result; name" in said) == (True, bool(told)), said
    assert "from the result; name" not in gated(capsys, write_audit(tmp_path, LEAK, with_pictures=False))[1]


@pytest.mark.parametrize("version", ["9" * 5000, "9" * 10, "1.2.3.4.5.6.7", "1.0٣", "١.0", ""])
def test_a_version_that_is_none_is_below_all(version, tmp_path, capsys):
    def edit(document: Document) -> None:
        document["tool"]["version"] = version

    path = edited(tmp_path, edit, NO_LEAK)
    policy = tmp_path / "policy.toml"
    policy.write_text('[allow]\nrebuilt = 4\nreadable = 4\n[minimum]\ntool_version = "0.1.0"\n')
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "- error minimum-tool-version" in said) == (3, True), said


# Records and their ids.


def first_ids(*ids: str) -> Callable[[Document], None]:
    def rename(document: Document) -> None:
        for record, identifier in zip(document["evidence"]["records"], ids, strict=False):
            record["id"] = identifier

    return rename


@pytest.mark.parametrize(
    "ids",
    [
        ("a", "a"),
        ("a", "A"),
        ("\u00e9", "e\u0301"),
        ("\ufb01", "fi"),
        ("a", "a\u200b"),
        ("STRASSE", "straße"),
        ("a", " a"),
    ],
    ids=["same", "case", "composed", "ligature", "zero width", "sharp s", "space"],
)
def test_duplicate_records(ids, tmp_path, capsys):
    code, said = gated(capsys, edited(tmp_path, first_ids(*ids), NO_LEAK))
    assert (code, "two records with the same id" in said) == (2, True)


@pytest.mark.parametrize("identifier", ["", "\u200b", "a\x1b[2K", "a\n- passed rebuilt", "\ud800"])
def test_ids_that_hide(identifier, tmp_path, capsys):
    code, said = gated(capsys, edited(tmp_path, first_ids(identifier), NO_LEAK))
    assert code == 2
    assert "expected" in said and "\x1b" not in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"LC_ALL": "tr_TR.UTF-8"}, {"PYTHONIOENCODING": "ascii"}])
def test_the_locale_changes_nothing(variables, tmp_path):
    path = edited(tmp_path, first_ids("İstanbul", "ß"), LEAK)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    completed = subprocess.run(
        [sys.executable, "-m", "privaudit", "gate", str(path)],
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 1, completed.stderr
    assert completed.stdout == b"leak_found\n"


# Waivers.


def waiver(result: AuditResult, **changes: str) -> str:
    fields = {
        "target": "rebuilt",
        "reason": "the images are public",
        "owner": "privacy office",
        "expires": "2027-01-31",
        "model_sha256": result.model.sha256,
        **changes,
    }
    lines = [f"{key} = {value if key == 'expires' else json.dumps(value)}" for key, value in fields.items() if value]
    return "\n".join(["[[waiver]]", *lines, ""])


def waived(tmp_path: Path, **changes: str) -> tuple[Path, Path]:
    """A result in which only `rebuilt` leaks, and a policy that waives it."""
    case = Case(n_readable=0)
    path = write_audit(tmp_path, case, with_pictures=False)
    policy = tmp_path / "policy.toml"
    policy.write_text("[allow]\nreadable = 4\n" + waiver(build(case), **changes), encoding="utf-8")
    return path, policy


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the clock that the gate asks."""

    def set_clock(moment: str) -> None:
        monkeypatch.setattr("privaudit.gate.utc_now", lambda: datetime.fromisoformat(moment).replace(tzinfo=UTC))

    return set_clock


def test_a_waiver_holds_until_its_last_day(tmp_path, capsys, at):
    path, policy = waived(tmp_path)
    at("2027-01-31T23:59")
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "- waived rebuilt: 30 of 50 records rebuilt" in said) == (0, True)
    assert "until 2027-01-31 by privacy office: the images are public" in said
    at("2027-02-01T00:00")
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "expired on 2027-01-31" in said) == (1, True)


def test_a_clock_moved_before_an_expiry(tmp_path, capsys, at):
    path, policy = waived(tmp_path)
    for moment in ("2025-12-31T12:00", "2026-01-01T00:00"):  # before the tool, and a day before the scan
        at(moment)
        code, said = gated(capsys, path, "--policy", policy)
        assert (code, "expected a clock not before 2026-01-01" in said) == (2, True), said


@pytest.mark.parametrize(
    ("started", "code"),
    [
        ("0001-01-01T00:00:00+00:00", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("9999-12-31T23:59:59-14:00", 2),
        ("9999-12-31", 2),
    ],
)
def test_a_start_at_either_end_of_the_calendar(started, code, tmp_path, capsys):
    """Neither says that something leaked; the first is no clock's error either."""

    def edit(document: Document) -> None:
        document["reproduce"]["started"] = started

    found, said = gated(capsys, edited(tmp_path, edit, NO_LEAK))
    assert (found, "Error" in said, "set this machine's clock" in said) == (code, False, code == 2), said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": ""}, "states no reason"),
        ({"reason": "  "}, "states no reason"),
        ({"owner": ""}, "states no owner"),
        ({"expires": ""}, "states no expires"),
        ({"model_sha256": ""}, "states no model_sha256"),
        ({"model_sha256": "0" * 64}, "was granted for the model 000000000000"),
        ({"target": "membership"}, "matches nothing that leaks"),
        ({"target": "rebuilt:none"}, "matches nothing that leaks"),
        ({"target": "rеbuilt"}, "matches nothing that leaks"),  # the second letter is Cyrillic
    ],
)
def test_a_waiver_that_does_not_hold(changes, words, tmp_path, capsys, at):
    at("2026-06-01T00:00")
    path, policy = waived(tmp_path, **changes)
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, words in said) == (1, True), said
    assert "- failed waiver: " in said
    # Nor is it harmless where nothing leaks: it would excuse the next leak.
    clean = write_audit(tmp_path, NO_LEAK, with_pictures=False)
    assert gated(capsys, clean, "--policy", policy)[0] == 1


def test_a_waiver_of_what_was_not_measured(tmp_path, capsys, at):
    at("2026-06-01T00:00")
    case = Case(n_controls=1, n_readable=0)
    path = write_audit(tmp_path, case, with_pictures=False)
    policy = tmp_path / "policy.toml"
    policy.write_text(waiver(build(case)))
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "matches nothing that leaks" in said) == (1, True)
    policy.write_text("")
    code, said = gated(capsys, path, "--policy", policy)
    assert (code, "there are 1" in said) == (3, True)  # a control set of one image


# Baselines.


def renamed(result: AuditResult, started: str, salt: str = "") -> AuditResult:
    assert result.evidence is not None
    records = tuple(r.model_copy(update={"id": salt + r.id}) for r in result.evidence.records)
    return sealed(
        result.model_copy(
            update={
                "evidence": result.evidence.model_copy(update={"records": records}),
                "reproduce": result.reproduce.model_copy(update={"started": started}),
            }
        )
    )


@pytest.mark.parametrize(
    ("started", "salt", "words"),
    [
        ("2026-01-02T03:04:05+00:00", "", "expected a baseline that is older"),  # the result itself
        ("2026-02-02T00:00:00+00:00", "", "expected a baseline that is older"),
        ("2026-01-01T00:00:00+00:00", "x", "set PRIVAUDIT_SALT"),
    ],
)
def test_a_baseline_that_excuses_too_much(started, salt, words, tmp_path, capsys):
    path = write_audit(tmp_path, LEAK, with_pictures=False)
    baseline = tmp_path / "old.json"
    baseline.write_text(to_json(renamed(build(LEAK), started, salt)))
    code, said = gated(capsys, path, "--baseline", baseline)
    assert (code, words in said) == (2, True), said


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case(n_controls=1), "expected a baseline with a calibrated threshold"),
        (Case(positive="failed"), "found that the positive control failed"),
        (Case(negative="failed"), "found that the negative control failed"),
        (Case(positive="not_run"), "found that the positive control was not run"),
        (Case(negative="not_run"), "found that the negative control was not run"),
    ],
)
def test_a_baseline_that_was_not_measured(case, words, tmp_path, capsys):
    path = write_audit(tmp_path, LEAK, with_pictures=False)
    baseline = tmp_path / "old.json"
    baseline.write_text(to_json(renamed(build(case), "2026-01-01T00:00:00+00:00")))
    code, said = gated(capsys, path, "--baseline", baseline)
    assert (code, words in said, len(said.splitlines())) == (2, True, 1), said


@pytest.mark.parametrize(("name", "is_laxer"), [("calibrated_threshold", True), ("membership", True), ("none", False)])
def test_a_baseline_with_a_laxer_rate(name, is_laxer):
    """A threshold at a larger rate calls more records leaked, and they would be excused."""
    result, baseline = build(LEAK), renamed(build(LEAK), "2026-01-01T00:00:00+00:00")
    assert baseline.evidence is not None
    if is_laxer:
        part = getattr(baseline.evidence, name).model_copy(update={"fpr": 0.2})
        baseline = baseline.model_copy(update={"evidence": baseline.evidence.model_copy(update={name: part})})
        with pytest.raises(PrivauditError, match=r"false-positive rate of at most 0.01 for \w+, .* found 0.2; scan"):
            all_checks(result, result.verdict, Policy(), baseline, date(2026, 6, 1))
    else:
        assert all_checks(result, result.verdict, Policy(), baseline, date(2026, 6, 1)).is_excused


def test_a_baseline_that_was_edited(tmp_path, capsys):
    path = write_audit(tmp_path, LEAK, with_pictures=False)
    document = json.loads(to_json(renamed(build(NO_LEAK), "2026-01-01T00:00:00+00:00")))
    for record in document["evidence"]["records"]:
        record["leaked"] = record["membership_found"] = True
    code, said = gated(capsys, path, "--baseline", written(tmp_path / "old.json", seal(document)))
    assert (code, "agrees with itself" in said) == (2, True)


# Reports.


@pytest.mark.parametrize(("case", "expected"), [(LEAK, 1), (INCONCLUSIVE, 3)])
def test_sarif_without_level(case, expected, tmp_path, capsys):
    """Readers take a missing level for a warning or drop the result; every result that is written has one."""
    path, out = write_audit(tmp_path, case, with_pictures=False), tmp_path / "out"
    code, said = gated(capsys, path, "--out", out, "--format", "sarif,junit,markdown")
    assert (code, f"gate: exit {expected}" in said) == (expected, True)
    (sarif_run,) = json.loads((out / "result.sarif").read_text())["runs"]
    assert sarif_run["results"]
    assert {found.get("level") for found in sarif_run["results"]} <= {"error", "warning"}


# Any single edit.


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every scalar and list; of a list's elements only the first two, which stand for the others."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
        return
    yield path
    if isinstance(value, list):
        for index, child in enumerate(value[:2]):
            yield from leaves(child, (*path, index))


def edits_of(value: Any) -> tuple[Any, ...]:
    if isinstance(value, list):
        return ([], None, [*value, *value[-1:]], value[:-1])
    if isinstance(value, str):
        return ("", "x", "passed", "not_found", "no_leak_found", None)
    return (None, 0, 1, -1, 0.5, 1e9, True, False)


@pytest.mark.slow
def test_no_single_edit_makes_a_leak_green(tmp_path):
    """More than a thousand edits of one value each, sealed again."""
    document = document_of()
    path, tried = tmp_path / "result.json", 0
    for place in list(leaves(document)):
        *parents, last = place
        changed = json.loads(json.dumps(document))
        holder = changed
        for key in parents:
            holder = holder[key]
        original = holder[last]
        for value in edits_of(original):
            if value == original or last == "self_sha256":
                continue
            holder[last] = value
            written(path, seal(changed))
            try:
                code = decide(read_result(path), Rules(), now=datetime(2026, 6, 1, tzinfo=UTC)).exit_code
            except PrivauditError:
                code = 2
            tried += 1
            assert code in (1, 2, 3), (place, value)
        holder[last] = original
    assert tried > 1000
