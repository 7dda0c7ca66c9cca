"""One cell: training and scan are stood in for, its files and its ends are not."""

import json
from pathlib import Path
from typing import Any

import pytest
from result_builder import LEAK, build
from study_cases import rows, training

from privaudit import audit
from privaudit.errors import DataError
from privaudit.progress import SilentListener
from privaudit.study import cell as cell_module
from privaudit.study import train
from privaudit.study.cell import CellJob, main, run_cell, write_job
from privaudit.study.interface import TrainedTarget
from privaudit.study.outcome import CELL_FILE, counts_of, read_outcome

RESULT = build(LEAK)


@pytest.fixture
def job() -> CellJob:
    cell = rows()[0].cells[0]
    return CellJob(digest=cell.digest, recipe=cell.recipe, scan=dict(cell.scan), threads=1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What training and scan were asked for; `raises` in it is raised by the scan."""
    seen: dict[str, Any] = {"result": RESULT}

    def train_target(recipe, out, listener, *, resume=False, device="auto"):
        seen.update(recipe=recipe, out=out, resume=resume, device=device)
        out.mkdir(exist_ok=True)
        return TrainedTarget(out / "model.safetensors", out / "images.npz", training())

    def scan(settings, listener, command):
        seen.update(settings=settings, command=command)
        if "raises" in seen:
            raise seen["raises"]
        return audit.ScanOutcome(seen["result"], ())

    monkeypatch.setattr(train, "train_target", train_target)
    monkeypatch.setattr(audit, "scan", scan)
    return seen


def test_what_is_asked_for_and_what_is_kept(tmp_path: Path, job: CellJob, asked: dict[str, Any]):
    outcome = run_cell(job, tmp_path, SilentListener())
    assert outcome is not None
    assert (asked["recipe"], asked["out"], asked["resume"]) == (job.recipe, tmp_path / "target", False)
    settings = asked["settings"]
    assert settings.model == tmp_path / "target" / "model.safetensors"
    assert settings.reference == f"{tmp_path / 'target' / 'images.npz'}:member"
    assert settings.control == f"{tmp_path / 'target' / 'images.npz'}:control"
    assert (settings.out, settings.budget, settings.seed) == (tmp_path / "audit", "quick", 0)
    assert settings.format == ("markdown",), "the page's advice is made from a study"
    assert "--budget quick" in asked["command"]
    assert (outcome.status, outcome.reason, outcome.digest) == ("done", "", job.digest)
    assert outcome.counts == counts_of(RESULT)
    assert outcome.training == training()
    assert {"python", "privaudit", "torch"} <= set(outcome.versions)
    run_cell(job, tmp_path, SilentListener())
    assert asked["resume"] is True


def test_counts_are_those_of_the_result():
    counts, evidence = counts_of(RESULT), RESULT.evidence
    assert evidence is not None
    assert (counts.members, counts.controls) == (50, 500)
    assert counts.members_leaked == evidence.calibrated_threshold.members_leaked == 30
    assert counts.published_members == evidence.published_threshold.members_leaked
    assert counts.membership_found == evidence.membership.members_found
    assert len(counts.ssim) == 50
    assert list(counts.ssim) == sorted(counts.ssim, reverse=True)
    assert counts.ssim[0] == round(max(record.ssim for record in evidence.records), 4)
    assert (counts.mode, counts.verdict) == (RESULT.attack.mode, "leak_found")
    nothing = RESULT.model_copy(update={"attack": RESULT.attack.model_copy(update={"reconstructions": 0})})
    assert counts_of(nothing).ssim == ()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(DataError("expected this"), "expected this"), (MemoryError("no more"), "MemoryError: no more")],
)
def test_what_goes_wrong_is_the_reason(tmp_path: Path, job: CellJob, asked: dict[str, Any], error, reason: str):
    asked["raises"] = error
    outcome = run_cell(job, tmp_path, SilentListener())
    assert outcome is not None
    assert (outcome.status, outcome.reason, outcome.counts) == ("failed", reason, None)
    assert outcome.training == training(), "training had ended"


def test_an_interruption_is_no_outcome(tmp_path: Path, job: CellJob, asked: dict[str, Any]):
    asked["raises"] = KeyboardInterrupt()
    assert run_cell(job, tmp_path, SilentListener()) is None
    del asked["raises"]
    stopped = RESULT.attack.model_copy(update={"interrupted": True})
    asked["result"] = RESULT.model_copy(update={"attack": stopped})
    assert run_cell(job, tmp_path, SilentListener()) is None


def test_files_and_exit_codes(tmp_path: Path, job: CellJob, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cell_module, "_end_with_parent", lambda: None)
    monkeypatch.setattr(cell_module.signal, "signal", lambda *_: None)
    write_job(tmp_path, job)
    assert json.loads((tmp_path / "job.json").read_text())["digest"] == job.digest
    assert main([str(tmp_path)]) == 0
    done = read_outcome(tmp_path, job.digest)
    assert done is not None
    assert done.status == "done"
    asked["raises"] = DataError("expected this")
    assert main([str(tmp_path)]) == 2
    asked["raises"] = KeyboardInterrupt()
    assert main([str(tmp_path)]) == 130
    assert not (tmp_path / CELL_FILE).exists()
