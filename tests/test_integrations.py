"""The GitHub Action and the examples: valid by their schemas, and the Action's scripts run, with hostile inputs too."""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from composite_action import CompositeAction
from result_builder import LEAK, NO_LEAK, Case, write_audit

from privaudit.cli.app import app
from privaudit.report import REPORTS
from privaudit.report.sarif_rules import RULES

ROOT = Path(__file__).parents[1]
FILES = {
    "action.yml": "vendor.github-actions",
    "examples/github-workflow.yml": "vendor.github-workflows",
    "examples/gitlab-ci.yml": "vendor.gitlab-ci",
}
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STUB = """#!{python}
import json, os, pathlib, shutil, sys
calls = pathlib.Path({calls!r})
with calls.open("a") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
command, codes = sys.argv[1], json.loads(os.environ["STUB_CODES"])
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
if command == "scan" and codes["scan"] in (0, 1, 3):
    out.mkdir(exist_ok=True)
    if "STUB_SAYS" not in os.environ:
        shutil.copy({result!r}, out / "result.json")
    (out / "reconstructions.safetensors").write_bytes(b"pictures")
    (out / "report.html").write_text("pictures")
    print(os.environ.get("STUB_SAYS", out / "result.json"))
if command == "gate" and codes["gate"] in (0, 1, 3):
    for name in ("gate.json", "result.sarif", "result.junit.xml", "report.md"):
        (out / name).write_text("of this run")
    print({{0: "no_leak_found", 1: "leak_found", 3: "inconclusive"}}[codes["gate"]])
if command == "report":
    with open(os.environ["GITHUB_STEP_SUMMARY"], "a") as stream:
        stream.write("the summary\\n")
sys.exit(codes.get(command, 0))
"""
HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "a; touch pwned",
    "' ; touch pwned ; '",
    '" ; touch pwned ; "',
    "--out=elsewhere",
    "-h",
    "a b*?",
    "${IFS}",
    "a\nexit-code=0",
]


@pytest.mark.parametrize("name", FILES)
def test_files_meet_the_schema_of_who_reads_them(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", FILES[name], str(ROOT / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def zizmor(*paths: Path) -> "subprocess.CompletedProcess[str]":
    """A linter of GitHub Actions that others wrote: among more, it knows what may reach a script."""
    options = [
        "--offline",
        "--no-progress",
        "--min-severity",
        "medium",
        "--config",
        str(ROOT / "tests/data/zizmor.yml"),
    ]
    program = Path(sysconfig.get_path("scripts"), "zizmor")
    return subprocess.run([program, *options, *paths], capture_output=True, text=True, check=False, timeout=120)


def test_zizmor_finds_no_injection(tmp_path: Path) -> None:
    done = zizmor(ROOT / "action.yml", ROOT / "examples" / "github-workflow.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    (tmp_path / "action.yml").write_text(text.replace('-- "$MODEL"', "-- ${{ inputs.model }}"))
    assert "template-injection" in zizmor(tmp_path / "action.yml").stdout


def test_no_expression_inside_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert step.get("shell", "bash") == "bash" and ("shell" in step) == ("run" in step)


def test_every_input_is_used_and_every_output_is_set() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8").split("\nruns:")[1]
    assert all(f"inputs.{name}" in text for name in ACTION["inputs"])
    assert all(f'echo "{name}=' in text for name in ACTION["outputs"])
    assert all(re.search(r"@v\d+$", step["uses"]) for step in ACTION["runs"]["steps"] if "uses" in step)


@pytest.fixture
def stubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Stubbed":
    return Stubbed(tmp_path, monkeypatch)


class Stubbed:
    """The Action with a program that writes down how it was called, in a folder of its own."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, bin_folder, temp = tmp_path / "checkout", tmp_path / "bin", tmp_path / "temp"
        self.bin_folder = bin_folder
        for folder in (self.folder, bin_folder, temp):
            folder.mkdir()
        result = write_audit(tmp_path / "scanned", LEAK, with_pictures=False)
        self.calls_file, self.monkeypatch = tmp_path / "calls", monkeypatch
        stub = STUB.format(python=sys.executable, calls=str(self.calls_file), result=str(result))
        (bin_folder / "privaudit").write_text(stub)
        (bin_folder / "python").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{shlex.quote(str(tmp_path / "pip"))}\n')
        for program in bin_folder.iterdir():
            program.chmod(0o755)
        self.pip_file = tmp_path / "pip"
        self.action = CompositeAction(ROOT / "action.yml", f"{bin_folder}{os.pathsep}{os.environ['PATH']}", temp)

    def run(self, scan: int = 1, gate: int = 1, **inputs: str) -> Any:
        self.monkeypatch.setenv("STUB_CODES", json.dumps({"scan": scan, "gate": gate}))
        return self.action.run(self.folder, **inputs)

    def use_the_program(self) -> None:
        """The real privaudit instead of the one that writes down."""
        program = self.bin_folder / "privaudit"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m privaudit "$@"\n')
        self.monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    @property
    def calls(self) -> list[list[str]]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_it_scans_gates_and_fails_with_the_gates_code(stubbed: Stubbed, code: int) -> None:
    ran = stubbed.run(1, code, model="m.safetensors", reference="train", control="held out", policy="p.toml")
    assert ran.code == code, ran.log
    scan = ["scan", "--no-progress", "--out", "audit", "--reference", "train", "--control", "held out"]
    gate = ["gate", "--out", "audit", "--format", "sarif,junit,markdown", "--model", "m.safetensors"]
    report = ["report", "--format", "markdown", "--out", "audit", "--gate", "audit/gate.json", "--job-summary"]
    assert stubbed.calls == [
        [*scan, "--", "m.safetensors"],
        [*gate, "--policy", "p.toml", "--", "audit/result.json"],
        [*report, "--", "audit/result.json"],
    ]
    verdict = {0: "no_leak_found", 1: "leak_found", 3: "inconclusive"}[code]
    assert ran.outputs == {
        "verdict": verdict,
        "exit-code": str(code),
        "result": "audit/result.json",
        "sarif": "audit/result.sarif",
        "junit": "audit/result.junit.xml",
    }
    assert ran.summary == "the summary\n"
    assert ran.used["github/codeql-action/upload-sarif@v4"] == {"sarif_file": "audit/result.sarif"}
    published = Path(ran.used["actions/upload-artifact@v5"]["path"])
    names = ["gate.json", "report.md", "result.json", "result.junit.xml", "result.sarif"]
    assert sorted(path.name for path in published.iterdir()) == names


def test_all_options_reach_the_program(stubbed: Stubbed) -> None:
    stubbed.run(
        model="m.pt",
        baseline="old.json",
        max_leaked="4",
        max_readable="5",
        budget="quick",
        extra_args="--seed\n3\n\n--mean\n0.5, 0.5\n",
        out="some where",
        package="privaudit-1.whl",
        artifact_with_images="true",
    )
    scan, gate, _ = stubbed.calls
    assert scan[2:] == ["--out", "some where", "--budget", "quick", "--seed", "3", "--mean", "0.5, 0.5", "--", "m.pt"]
    assert gate[5:] == [
        "--model", "m.pt", "--baseline", "old.json", "--fail-on", "any", "--max-leaked", "4", "--max-readable", "5",
        "--", "some where/result.json",
    ]  # fmt: skip
    assert stubbed.pip_file.read_text().splitlines()[0].endswith("-- privaudit-1.whl")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, ["--fail-on", "any", "--max-leaked", "0", "--max-readable", "0"]),
        ({"max_leaked": "4"}, ["--fail-on", "any", "--max-leaked", "4", "--max-readable", "0"]),
        ({"max_readable": "4"}, ["--fail-on", "any", "--max-leaked", "0", "--max-readable", "4"]),
        ({"policy": "p.toml"}, ["--policy", "p.toml"]),
        ({"policy": "p.toml", "max_leaked": "4"}, ["--policy", "p.toml", "--max-leaked", "4"]),
    ],
)
def test_nothing_is_allowed_that_no_input_allows(stubbed: Stubbed, inputs: dict[str, str], expected: list[str]) -> None:
    stubbed.run(model="m.pt", **inputs)
    assert stubbed.calls[1][7:-2] == expected


def test_allowances_inside_a_result_do_not_count(stubbed: Stubbed) -> None:
    """They are those of a privaudit.toml that may have come with the model."""
    stubbed.use_the_program()
    write_audit(stubbed.folder / "gpu", Case(max_leaked=50, max_readable=50), with_pictures=False)
    ran = stubbed.run(result="gpu/result.json")
    assert (ran.code, ran.outputs["verdict"]) == (1, "leak_found"), ran.log


def test_a_repository_cannot_pass_for_pip(stubbed: Stubbed) -> None:
    """The working directory is the checked-out repository, and `python -m` would look there first."""
    python = stubbed.bin_folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (stubbed.folder / "pip.py").write_text("open('pwned', 'w')")
    stubbed.run(model="m.pt", package="./no such package")
    assert not (stubbed.folder / "pwned").exists()


@pytest.mark.parametrize("says", ["", "elsewhere/result.json", "audit/result.json"])
def test_a_result_of_an_earlier_run_is_not_gated(stubbed: Stubbed, says: str) -> None:
    stubbed.run(0, 0, model="m.pt")
    assert (stubbed.folder / "audit" / "result.json").exists()
    stubbed.calls_file.unlink()
    stubbed.monkeypatch.setenv("STUB_SAYS", says)
    ran = stubbed.run(0, 0, model="m.pt")
    assert ran.code == 2, ran.log
    assert [call[0] for call in stubbed.calls] == ["scan"]
    assert not (stubbed.folder / "audit" / "result.json").exists()
    assert ran.outputs["verdict"] == ran.outputs["result"] == "" and "expected a result to gate" in ran.log


def test_the_scan_says_where_its_result_is(stubbed: Stubbed) -> None:
    write_audit(stubbed.folder / "there", LEAK, with_pictures=False)
    stubbed.monkeypatch.setenv("STUB_SAYS", "there/result.json")
    ran = stubbed.run(1, 1, model="m.pt", extra_args="--resume")
    assert ran.outputs["result"] == "there/result.json" and stubbed.calls[1][-1] == "there/result.json"


def test_a_path_of_two_lines_cannot_forge_outputs(stubbed: Stubbed) -> None:
    stubbed.monkeypatch.setenv("STUB_SAYS", "a\nexit-code=0")
    ran = stubbed.run(1, 0, model="m.pt")
    assert ran.code == 2 and ran.outputs["exit-code"] == "" and ran.outputs["verdict"] == ""


def test_pictures_are_published_on_request_only(stubbed: Stubbed) -> None:
    ran = stubbed.run(model="m.pt", artifact_with_images="true")
    published = Path(ran.used["actions/upload-artifact@v5"]["path"])
    assert {"report.html", "reconstructions.safetensors"} <= {path.name for path in published.iterdir()}


@pytest.mark.parametrize("code", [2, 130])
def test_a_scan_that_could_not_do_the_job_is_not_gated(stubbed: Stubbed, code: int) -> None:
    (stubbed.folder / "audit").mkdir()
    (stubbed.folder / "audit" / "result.sarif").write_text("of an earlier run")
    ran = stubbed.run(code, 0, model="m.pt")
    assert ran.code == code
    assert [call[0] for call in stubbed.calls] == ["scan"]
    assert ran.outputs["exit-code"] == str(code) and ran.outputs["verdict"] == ran.outputs["sarif"] == ""
    assert f"exit code {code}" in ran.summary and len(ran.used) == 1


def test_reports_of_an_earlier_run_are_not_taken_for_this_ones(stubbed: Stubbed) -> None:
    stubbed.run(0, 0, model="m.pt")
    ran = stubbed.run(0, 2, model="m.pt")
    assert ran.code == 2 and ran.outputs["sarif"] == "" and ran.outputs["exit-code"] == "2"
    assert "github/codeql-action/upload-sarif@v4" not in ran.used


def test_a_finished_result_is_gated_without_a_scan(stubbed: Stubbed) -> None:
    path = write_audit(stubbed.folder / "gpu", NO_LEAK, with_pictures=False)
    (stubbed.folder / "audit").mkdir()
    ran = stubbed.run(9, 0, result="gpu/result.json", upload_sarif="false", artifact_name="")
    assert ran.code == 0, ran.log
    assert [call[0] for call in stubbed.calls] == ["gate", "report"]
    assert path.exists() and "Scan" not in ran.steps
    assert list(ran.used) == ["actions/setup-python@v6"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["model", "reference", "policy", "max_leaked", "extra_args", "package", "budget"])
def test_inputs_are_data(stubbed: Stubbed, name: str, text: str) -> None:
    ran = stubbed.run(0, 1, **{"model": "m.pt", name: text})
    assert ran.code == 1, ran.log
    assert ran.outputs["exit-code"] == "1"
    assert not (stubbed.folder / "pwned").exists()
    given = [argument for call in stubbed.calls for argument in call]
    expected = text.split("\n") if name == "extra_args" else [text]
    if name != "package":
        assert all(argument in given for argument in expected)
    if name == "model":
        assert all(call[call.index("--") + 1 :] != [] for call in stubbed.calls)


@pytest.mark.parametrize("name", ["out", "result"])
def test_paths_cannot_forge_outputs(stubbed: Stubbed, name: str) -> None:
    ran = stubbed.run(0, 1, **{"model": "m.pt", name: "a\nexit-code=0\nverdict=no_leak_found"})
    assert ran.code == 2
    assert ran.outputs["verdict"] == "" and ran.outputs["exit-code"] == ""


def options_of(name: str) -> set[str]:
    import typer

    alone = typer.Typer()
    alone.command()(next(c.callback for c in app.registered_commands if c.callback and c.callback.__name__ == name))
    return {option for known in typer.main.get_command(alone).params for option in known.opts}


@pytest.mark.parametrize("command", ["scan", "gate", "report"])
def test_the_program_has_every_option_that_the_action_uses(stubbed: Stubbed, command: str) -> None:
    everything = dict.fromkeys(("model", "reference", "control", "policy", "baseline", "budget"), "x")
    stubbed.run(**everything, max_leaked="1", max_readable="1")
    (call,) = [call for call in stubbed.calls if call[0] == command]
    assert {argument for argument in call[:-2] if argument.startswith("--")} <= options_of(command)


@pytest.mark.parametrize(("max_leaked", "code"), [("0", 1), ("50", 0)])
def test_it_gates_a_real_result(stubbed: Stubbed, tmp_path: Path, max_leaked: str, code: int) -> None:
    stubbed.use_the_program()
    write_audit(stubbed.folder / "gpu", LEAK, with_pictures=False)
    ran = stubbed.run(result="gpu/result.json", max_leaked=max_leaked, max_readable="50")
    assert ran.code == code, ran.log
    assert ran.outputs["exit-code"] == str(code) and "## " in ran.summary
    sarif = json.loads((stubbed.folder / ran.outputs["sarif"]).read_text())
    assert sarif["runs"][0]["invocations"][0]["exitCode"] == code


def test_the_example_of_pre_commit_names_the_hook() -> None:
    (repo,) = yaml.safe_load((ROOT / "examples" / "pre-commit-config.yaml").read_text())["repos"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [used["id"] for used in repo["hooks"]] == [hook["id"]]
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")], check=False
    )
    config = [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / "examples" / "pre-commit-config.yaml")]
    assert done.returncode == subprocess.run(config, check=False).returncode == 0


def test_the_example_workflow_uses_inputs_and_outputs_that_exist() -> None:
    text = (ROOT / "examples" / "github-workflow.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    (step,) = [step for step in job["steps"] if "privaudit" in step.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert "steps.privaudit.outputs.exit-code" in text and "exit-code" in ACTION["outputs"]


def test_the_page_names_every_format_rule_and_input() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for name, report in REPORTS.items():
        assert f"| `{name}` | `{report.file_name}` |" in page
    for rule in RULES:
        assert f"| {rule.id} | {rule.level} |" in page
    assert all(f"`{name}`" in page for name in (*ACTION["inputs"], *ACTION["outputs"]))
    for link in re.findall(r"\]\(\.\./([^)]+)\)", page):
        assert (ROOT / link).exists(), link
