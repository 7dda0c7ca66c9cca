"""`gate`, `report` and `config`: real processes, real files."""

import json
from pathlib import Path

import pytest

from privaudit.cli import run


@pytest.mark.parametrize(("options", "code"), [([], 3), (["--exit-zero"], 3), (["--fail-on", "rebuilt"], 3)])
def test_gate_exits_with_the_verdict(options, code, result_path, run_process):
    completed = run_process("gate", result_path, *options)
    assert completed.returncode == code
    assert completed.stdout == "inconclusive\n"
    assert "verdict: inconclusive" in completed.stderr
    assert run_process("gate", result_path, "-q", *options).stderr == ""


def damaged(kind, path):
    document = json.loads(path.read_text())
    if kind == "edited":
        document["verdict"]["status"] = "no_leak_found"
    elif kind == "unknown schema":
        document["schema_version"] = "99"
    elif kind == "unknown field":
        document["extra"] = 1
    elif kind == "field missing":
        del document["attack"]
    path.write_text("no json" if kind == "no json" else json.dumps(document))


@pytest.mark.parametrize("command", ["gate", "report", "verify"])
@pytest.mark.parametrize("kind", ["edited", "unknown schema", "unknown field", "field missing", "no json"])
def test_a_damaged_result_is_refused(kind, command, result_path, run_process, refused):
    damaged(kind, result_path)
    refused(run_process(command, result_path), str(result_path))
    assert [path.name for path in result_path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize("command", ["gate", "report", "verify"])
def test_a_missing_result_is_refused(command, tmp_path, run_process, refused):
    refused(run_process(command, tmp_path / "none.json"), "none.json")


@pytest.mark.parametrize("options", [["--max-leaked", "-1"], ["--fail-on", "nothing"], ["--max-readable", "few"]])
def test_gate_refuses_allowances_that_are_none(options, result_path, run_process, refused):
    refused(run_process("gate", result_path, *options), options[0])


def test_report_writes_the_formats_and_prints_their_paths(result_path, fake_stage, capsys, tmp_path):
    asked = []

    def write_reports(*arguments, **choices):
        asked.append((*arguments, choices))
        return (tmp_path / "report.html", tmp_path / "result.sarif")

    fake_stage("report", write_reports=write_reports)
    given = ["--format", "html,sarif", "--format", "html", "--public", "--pdf", "--templates", "own"]
    assert run(["report", str(result_path), *given]) == 0
    choices = {"public": True, "pdf": True, "templates": Path("own")}
    assert asked == [(result_path, ("html", "sarif"), False, None, None, choices)]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "report.html"), str(tmp_path / "result.sarif")]


@pytest.mark.parametrize("value", ["pdf", ",", "html,pdf"])
def test_report_refuses_formats_that_are_none(value, result_path, run_process, refused):
    refused(run_process("report", result_path, "--format", value), "--format")


@pytest.mark.parametrize("name", ["markdown", "sarif", "junit", "modelcard"])
def test_report_for_machines_in_a_folder_of_its_own(name, result_path, run_process, tmp_path):
    completed = run_process("report", result_path, "--format", name, "--out", tmp_path / "there")
    assert completed.returncode == 0, completed.stderr
    (written,) = completed.stdout.splitlines()
    assert [str(path) for path in (tmp_path / "there").iterdir()] == [written]


def test_report_appends_to_the_job_summary(result_path, run_process, refused, tmp_path):
    summary = tmp_path / "summary.md"
    options = ("report", result_path, "--format", "markdown", "--job-summary")
    completed = run_process(*options, GITHUB_STEP_SUMMARY=str(summary))
    assert completed.returncode == 0, completed.stderr
    assert summary.read_text().rstrip() == (result_path.parent / "report.md").read_text().rstrip()
    refused(run_process(*options, GITHUB_STEP_SUMMARY=""), "GITHUB_STEP_SUMMARY")


def test_report_refuses_what_is_no_decision(result_path, run_process, refused):
    refused(
        run_process("report", result_path, "--format", "sarif", "--gate", result_path), "expected what a gate writes"
    )
    refused(run_process("report", result_path, "--format", "sarif", "--gate", "none.json"), "none.json")


def test_config_prints_values_and_origins(in_folder, run_process):
    (in_folder / "privaudit.toml").write_text('[scan]\nreference = "train"\nseed = 4\n')
    variables = {"PRIVAUDIT_SEED": "5", "PRIVAUDIT_FPR": "0.02"}
    completed = run_process("config", "model.safetensors", "--fpr", "0.03", "--json", **variables)
    assert completed.returncode == 0, completed.stderr
    document = json.loads(completed.stdout)
    file = str(in_folder / "privaudit.toml")
    assert document["reference"] == {"value": str(in_folder / "train"), "origin": file}
    assert document["seed"] == {"value": 5, "origin": "PRIVAUDIT_SEED"}
    assert document["fpr"] == {"value": 0.03, "origin": "command line"}
    assert document["out"] == {"value": "audit", "origin": "default"}
    table = run_process("config", "model.safetensors", COLUMNS="200", **variables)
    assert table.stdout == ""
    assert "PRIVAUDIT_FPR" in table.stderr
    assert file in table.stderr
