"""Grids, outcomes and a stand-in for what runs a cell, for the tests of studies."""

import random
from pathlib import Path
from typing import Any

from privaudit.study.cells import Cell, Choices, Row, cells_of, rows_of
from privaudit.study.grid_file import parse_grid
from privaudit.study.interface import TrainingSummary
from privaudit.study.outcome import CellOutcome, ScanCounts, write_outcome
from privaudit.study.record import cell_folder

GRID = """
title = "Weight decay raises what can be rebuilt"
seeds = [0, 1, 2]
[train]
data = "digits"
hidden = [30]
[scan]
budget = "quick"
[[row]]
name = "decay"
title = "Weight decay <two> classes"
shows = "curve: records rebuilt against weight decay"
published = "Somebody 2023"
gpu_minutes = 40
[row.train]
classes = 2
images_per_class = 5
[row.grid]
weight_decay = [0.0, 1e-4, 1e-2]
[[row.point]]
label = "weight decay 0, small first layer"
weight_decay = 0.0
init = "small"
[[row]]
name = "losses"
seeds = [0]
[row.train]
labels = "two_groups"
[[row.point]]
loss = "mse"
[[row.point]]
loss = "huber"
"""

FIGURE_ROWS = """
[[row]]
name = "wide"
[row.train]
data = "faces"
[row.grid]
images_per_class = [5, 10, 20]
hidden = [[30], [300]]
[[row]]
name = "width"
[row.train]
data = "faces"
[row.grid]
hidden = [[30, 30], [100, 100], [300, 300]]
"""


def rows(text: str = GRID, **choices: Any) -> tuple[Row, ...]:
    return rows_of(parse_grid(text, "grid.toml"), Choices(**choices))


def training(**changes: Any) -> TrainingSummary:
    values: dict[str, Any] = {
        "status": "stationary",
        "images": 20,
        "controls": 400,
        "held_out": 400,
        "outputs": 2,
        "parameters": 3000,
        "epochs": 100,
        "loss": 0.01,
        "accuracy": 1.0,
        "held_out_accuracy": 0.8,
        "held_out_loss": 0.5,
        "residual": 0.1,
        "seconds": 3.0,
    }
    return TrainingSummary(**{**values, **changes})


def counts(found: int, members: int = 20, **changes: Any) -> ScanCounts:
    generator = random.Random(found)
    values: dict[str, Any] = {
        "members": members,
        "controls": 400,
        "published_members": min(members, found + 2),
        "published_controls": 3,
        "published_placebo": 1.0,
        "fpr": 0.01,
        "ssim_threshold": 0.45,
        "threshold_reason": "",
        "members_leaked": found,
        "controls_leaked": 4,
        "interval_low": 0.5,
        "interval_high": float(members),
        "p_value": 0.01,
        "membership_applicable": True,
        "membership_reason": "",
        "membership_found": members,
        "membership_controls": 2,
        "membership_low": 10.0,
        "membership_high": float(members),
        "membership_p_value": 1e-9,
        "mode": "general_loss",
        "explained": 0.9,
        "estimated_training_images": members,
        "reconstructions": 50,
        "seconds": 12.5,
        "verdict": "leak_found",
        "verdict_reason": "Because.",
        "ssim": tuple(sorted((round(generator.random(), 4) for _ in range(members)), reverse=True)),
        "ssim_median": 0.5,
        "model_sha256": "0" * 64,
        "result_sha256": "1" * 64,
    }
    return ScanCounts(**{**values, **changes})


def done(cell: Cell, found: int = 4, **changes: Any) -> CellOutcome:
    values: dict[str, Any] = {
        "digest": cell.digest,
        "status": "done",
        "recipe": cell.recipe,
        "scan": dict(cell.scan),
        "training": training(),
        "counts": counts(found),
        "seconds": 20.0,
        "started": "2026-01-02T03:04:05+00:00",
        "machine": "Linux, 1 threads",
        "versions": {"python": "3.11", "privaudit": "0.1.0"},
    }
    return CellOutcome(**{**values, **changes})


def failed(cell: Cell, reason: str) -> CellOutcome:
    return done(cell, status="failed", reason=reason, training=None, counts=None)


def fill(out: Path, some: tuple[Row, ...]) -> None:
    """Every cell done: more rebuilt with more decay, nearly the same for every seed; one of them failed."""
    for cell in cells_of(some):
        found = {0.0: 2, 1e-4: 4, 1e-2: 18}.get(cell.recipe.weight_decay, 5) + cell.seed % 2
        outcome = done(cell, found)
        if cell.recipe.weight_decay == 1e-4 and cell.seed == 2:
            outcome = failed(cell, "killed by signal 9 (SIGKILL), which the system sends when memory runs out")
        write_outcome(cell_folder(out, cell.digest), outcome)


WORKER = """
import json, os, signal, sys, time
from pathlib import Path
from study_cases import counts, training
from privaudit.study.cell import CellJob
from privaudit.study.outcome import CellOutcome, write_outcome
folder = Path(sys.argv[1])
job = CellJob.model_validate(json.loads((folder / "job.json").read_text()))
with (folder.parent.parent / "runs.txt").open("a") as stream:
    stream.write(f"{job.digest} {job.threads}\\n")
decay = job.recipe.weight_decay
plan = os.environ.get("STUDY_TEST_PLAN", "")
if plan == "die" and decay == 1e-2:
    os.kill(os.getpid(), signal.SIGKILL)
if plan == "half" and decay == 1e-2:
    (folder / "cell.json").write_text('{"digest": "')
    sys.exit(0)
if plan == "wait":
    time.sleep(60)
values = {"digest": job.digest, "recipe": job.recipe, "scan": job.scan, "seconds": 0.1}
if plan == "refuse" and decay == 1e-2:
    write_outcome(folder, CellOutcome(status="failed", reason="expected this, found that", **values))
    sys.exit(2)
write_outcome(folder, CellOutcome(status="done", training=training(), counts=counts(5), **values))
"""
"""Runs a cell without training or scanning; STUDY_TEST_PLAN says how it ends for the largest weight decay."""
