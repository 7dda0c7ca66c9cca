"""Runs a composite GitHub Action as far as one machine can: `run` steps for real, `uses` steps written down."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_NAME = re.compile(r"(?<![\w.'-])(?:inputs|steps|github)\.[\w.-]+")


@dataclass
class Ran:
    """What a run of the action came to: its outputs, `uses` steps with their inputs, and the failing step's code."""

    code: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    log: str = ""
    summary: str = ""


class CompositeAction:
    """`action.yml` with its expressions evaluated: names, ==, !=, &&, || and the functions of status."""

    def __init__(self, path: Path, path_variable: str, runner_temp: Path) -> None:
        self.document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.root, self.path_variable, self.temp = path.parent, path_variable, runner_temp

    def run(self, folder: Path, **inputs: str) -> Ran:
        known = {name: str(given.get("default", "")) for name, given in self.document["inputs"].items()}
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(known)
        self.values = {f"inputs.{name}": value for name, value in {**known, **given}.items()}
        self.values["github.action_path"] = str(self.root)
        ran = Ran()
        summary = self.temp / "summary.md"
        for step in self.document["runs"]["steps"]:
            condition = str(step.get("if", "success()")).removeprefix("${{").removesuffix("}}")
            runs_anyway = "cancelled()" in condition
            if (ran.code and not runs_anyway) or not self._is_true(condition):
                continue
            ran.steps.append(step["name"])
            if "uses" in step:
                ran.used[step["uses"]] = {name: self._text(value) for name, value in step["with"].items()}
                continue
            code = self._script(step, folder, summary, ran)
            ran.code = ran.code or code
        ran.summary = summary.read_text(encoding="utf-8") if summary.exists() else ""
        ran.outputs = {name: self._text(one["value"]) for name, one in self.document["outputs"].items()}
        return ran

    def _script(self, step: dict[str, Any], folder: Path, summary: Path, ran: Ran) -> int:
        script, output = self.temp / "step.sh", self.temp / "output"
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("")
        environ = {name: value for name, value in os.environ.items() if name != "BASH_ENV"} | {
            "PATH": self.path_variable,
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(self.temp),
        }
        environ |= {name: self._text(value) for name, value in step.get("env", {}).items()}
        # The command line that GitHub uses for `shell: bash`.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
        )
        ran.log += done.stdout + done.stderr
        for line in output.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            self.values[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode

    def _text(self, value: object) -> str:
        return _EXPRESSION.sub(lambda found: self.values.get(found[1], ""), str(value))

    def _is_true(self, condition: str) -> bool:
        named = _NAME.sub(lambda found: repr(self.values.get(found[0], "")), condition)
        python = named.replace("!cancelled()", "True").replace("success()", "True")
        return bool(eval(python.replace("&&", " and ").replace("||", " or "), {"__builtins__": {}}))
