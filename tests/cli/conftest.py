"""Results, fake stages and runners for the command line's tests."""

import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import privaudit
from privaudit.result import (
    Attack,
    AttackRun,
    AuditResult,
    Finding,
    Instrument,
    Model,
    Preflight,
    Reproduce,
    Tool,
    Verdict,
)
from privaudit.result_file import to_json
from privaudit.verdict import verdict_for

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `result_builder`, whichever way pytest is started


def result_with(status: str = "inconclusive", is_interrupted: bool = False) -> AuditResult:
    """The smallest result with this verdict; without evidence, so a gate can only call it inconclusive."""
    state = {"leak_found": "found", "no_leak_found": "not_found"}.get(status, "not_run")
    findings = tuple(
        Finding(
            name=name,
            status=state,
            count=27,
            interval_low=20.1,
            interval_high=36.0,
            allowance=0,
            reason=f"Reason for {name}.",
            total=50,
            threshold=0.5,
        )
        for name in ("rebuilt", "membership")
    )
    return AuditResult(
        tool=Tool(version="0.1.0"),
        model=Model(
            path="model.safetensors",
            sha256="0" * 64,
            format="safetensors",
            adapter="mlp",
            parameters=10,
            input_shape=(1, 2, 2),
            outputs=1,
            layers=(),
            metadata={},
        ),
        preflight=Preflight(
            applicable=True,
            reasons=("A chain of linear layers.",),
            estimated_training_images=50,
            explained_by_reference=None,
            homogeneity_error=0.0,
            objectives=("margin",),
            spectra=(),
        ),
        attack=Attack(
            mode="binary",
            mode_reason="one output",
            device="cpu",
            restarts=1,
            steps=1,
            seconds=1.0,
            candidates=1,
            seed=0,
            explained=0.5,
            interrupted=is_interrupted,
            runs=(
                AttackRun(
                    objective="margin",
                    status="finished",
                    restarts=1,
                    steps=1,
                    candidates=1,
                    reconstructions=1,
                    seconds=1.0,
                    loss=0.5,
                    explained=0.5,
                ),
            ),
            knowledge=(),
            budget_curve=(),
            reconstructions=1,
        ),
        evidence=None,
        instrument=Instrument(positive_control="not_run", negative_control="not_run"),
        verdict=Verdict(
            status=status, reasons=("Because.",), max_leaked=0, max_readable=0, fail_on="any", findings=findings
        ),
        reproduce=Reproduce(
            command="", config={}, versions={}, seeds=(0,), started="2026-01-02T03:04:05+00:00", machine=""
        ),
    )


@pytest.fixture
def make_result() -> Callable[..., AuditResult]:
    return result_with


@pytest.fixture
def result_path(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    result = result_with()
    verdict = verdict_for(
        None, result.preflight, result.attack, result.instrument, max_leaked=0, max_readable=0, fail_on="any"
    )
    path.write_text(to_json(result.model_copy(update={"verdict": verdict})))
    return path


@pytest.fixture
def fake_stage(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.SimpleNamespace]:
    """Replace a module of the package, so that the command line is tested alone."""

    def replace(name: str, **members: Any) -> types.SimpleNamespace:
        module = types.ModuleType(f"privaudit.{name}")
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(privaudit, name, module, raising=False)
        return types.SimpleNamespace(module=module)

    return replace


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder and an environment without settings."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("PRIVAUDIT_FPR", "PRIVAUDIT_OUT", "PRIVAUDIT_REFERENCE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def run_process() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The program in a process of its own, as a pipeline runs it."""

    def run_it(*arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "privaudit", *map(str, arguments)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)

    return run_it


def assert_refused(completed: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr that holds these words."""
    assert completed.returncode == 2, completed.stderr
    assert completed.stdout == ""
    lines = completed.stderr.splitlines()
    assert len(lines) == 1, completed.stderr
    assert lines[0].startswith("privaudit: error: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def refused() -> Callable[..., None]:
    return assert_refused
