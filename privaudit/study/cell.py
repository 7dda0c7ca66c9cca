"""One cell in a process of its own: train, scan, write what came out.

`python -m privaudit.study.cell DIR` reads `DIR/job.json` and writes `DIR/cell.json`, the trained network to
`DIR/target` and the scan to `DIR/audit`. Exit code 0: done; 2: failed, and `cell.json` says why; 130: interrupted, and
there is no `cell.json`. Must not know the study that the cell is part of.
"""

import json
import os
import platform
import shlex
import signal
import stat
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from privaudit import __version__
from privaudit.config import Format, ScanSettings
from privaudit.errors import ExitCode, PrivauditError
from privaudit.progress import JsonLinesListener, ProgressListener
from privaudit.result_file import write_private
from privaudit.study.interface import TrainingSummary
from privaudit.study.outcome import (
    AUDIT_FOLDER,
    CELL_FILE,
    CellOutcome,
    ScanCounts,
    StudyModel,
    counts_of,
    write_outcome,
)
from privaudit.study.recipe import Recipe
from privaudit.text import one_line

JOB_FILE = "job.json"
TARGET_FOLDER = "target"
REPORT: tuple[Format, ...] = ("markdown",)
"""Beside each `result.json`; `privaudit report` makes the others. Not the page: its advice is made from a study, which
could not be the first one otherwise, and its figures take seconds a cell."""

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "scikit-learn", "opacus")


class CellJob(StudyModel):
    """The whole of `job.json`: what to do. `threads`: that the cell may compute with."""

    digest: str
    recipe: Recipe
    scan: dict[str, Any]
    threads: int


def write_job(folder: Path, job: CellJob) -> None:
    """Write `job.json`.

    Raises:
        OutputError: the folder cannot be written.
    """
    text = json.dumps(job.model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False)
    write_private(folder / JOB_FILE, f"{text}\n".encode())


def main(arguments: list[str]) -> int:
    """Run the cell of a folder; returns the exit code."""
    folder = Path(arguments[0])
    job = CellJob.model_validate(json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
    _end_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # training and scan then keep what they have
    with JsonLinesListener(folder / "progress.jsonl") as listener:
        outcome = run_cell(job, folder, listener)
    if outcome is None:
        return ExitCode.INTERRUPTED
    write_outcome(folder, outcome)
    return ExitCode.ERROR if outcome.status == "failed" else ExitCode.NO_LEAK_FOUND


def run_cell(job: CellJob, folder: Path, listener: ProgressListener) -> CellOutcome | None:
    """Train and scan; whatever goes wrong becomes the reason of a failed cell.

    Returns:
        What came out; None if it was interrupted, in which case it is to be run again.
    """
    start, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    (folder / CELL_FILE).unlink(missing_ok=True)  # of an attempt that failed
    _set_threads(job.threads)
    attempt = _Attempt()
    try:
        _train_and_scan(job, folder, listener, attempt)
    except KeyboardInterrupt:
        return None
    except PrivauditError as error:
        attempt.reason = one_line(error, 600)
    except Exception as error:
        traceback.print_exc()
        attempt.reason = one_line(f"{type(error).__name__}: {error}", 600)
    if attempt.counts is None and not attempt.reason:
        return None
    return CellOutcome(
        digest=job.digest,
        status="failed" if attempt.counts is None else "done",
        reason=attempt.reason,
        recipe=job.recipe,
        scan=job.scan,
        training=attempt.training,
        counts=attempt.counts,
        seconds=round(time.monotonic() - start, 1),
        started=started,
        machine=_machine(job.threads),
        versions=_versions(),
    )


def _train_and_scan(job: CellJob, folder: Path, listener: ProgressListener, attempt: "_Attempt") -> None:
    """Fill `attempt` as far as it gets; neither counts nor a reason in it means that it was interrupted."""
    from privaudit.audit import TRIALS_FILE, scan
    from privaudit.study.train import train_target

    target_folder, audit_folder = folder / TARGET_FOLDER, folder / AUDIT_FOLDER
    listener.stage("train", "training the target network")
    target = train_target(
        job.recipe,
        target_folder,
        listener,
        resume=target_folder.exists(),
        device=str(job.scan.get("device", "auto")),
    )
    attempt.training = target.summary
    settings = ScanSettings(
        model=target.model,
        reference=f"{target.images}:member",
        control=f"{target.images}:control",
        out=audit_folder,
        format=REPORT,
        resume=(audit_folder / TRIALS_FILE).exists(),
        **job.scan,
    )
    result = scan(settings, listener, _scan_command(settings, job.scan)).result
    if not result.attack.interrupted:
        attempt.counts = counts_of(result)


@dataclass
class _Attempt:
    """How far a cell got."""

    training: TrainingSummary | None = None
    counts: ScanCounts | None = None
    reason: str = ""


def _scan_command(settings: ScanSettings, given: dict[str, Any]) -> str:
    """The scan as one would type it."""
    options = {"reference": settings.reference, "control": settings.control, "out": settings.out, **given}
    parts = ["privaudit", "scan", str(settings.model)]
    for name, value in options.items():
        option = name.removesuffix("_s").replace("_", "-")
        parts += (
            [f"--{option}" if value else f"--no-{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]
        )
    return shlex.join(parts)


def _set_threads(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)


def _end_with_parent() -> None:
    """End when the study's own process has ended, however it did: its end of standard input closes then.

    A study that was killed would otherwise leave networks in training behind, which the next one starts again.
    """

    descriptor = sys.stdin.fileno()

    def watch() -> None:
        os.read(descriptor, 1)  # not sys.stdin, whose lock this thread would hold when the interpreter shuts down
        os._exit(ExitCode.INTERRUPTED)

    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # by hand it is a terminal or nothing
        threading.Thread(target=watch, daemon=True).start()


def _machine(n_threads: int) -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no accelerator"
    return f"{platform.system()} {platform.machine()}, {n_threads} threads, {device}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "privaudit": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # not needed by every cell
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
