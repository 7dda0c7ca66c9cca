"""`privaudit scan`: settings, the audit, a summary, an exit code."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from privaudit.cli.console import emit, say, stdout_for_results_only
from privaudit.cli.options import ModelArgument, NoProgress, Quiet, Verbose, with_scan_options
from privaudit.cli.settings import effective_settings

if TYPE_CHECKING:
    from privaudit.audit import ScanOutcome
    from privaudit.config import ScanSettings
    from privaudit.progress import ProgressListener


@with_scan_options()
def scan(
    context: typer.Context,
    model: ModelArgument,
    *,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_progress: NoProgress = False,
    **settings: object,
) -> None:
    """Rebuild training images from MODEL and report.

    Without options, settings come from the checkpoint's metadata and from a privaudit.toml beside or above it. Prints
    the path of result.json to stdout.

    Only --reference and --control together allow a false-positive rate; without them the verdict is inconclusive.
    """
    from privaudit.cli.output import require_writable
    from privaudit.cli.progress import listener_for
    from privaudit.cli.summary import scan_lines
    from privaudit.progress import JsonLinesListener, Tee

    effective = effective_settings(model, settings, quiet, verbose)
    require_writable(effective.out)
    command = shlex.join(["privaudit", *(context.obj or ["scan", str(model)])])
    with listener_for(quiet, verbose, no_progress) as shown, JsonLinesListener(effective.out / "progress.jsonl") as log:
        outcome = _run(effective, Tee(shown, log), command)
    if not quiet:
        for line in scan_lines(outcome.result, outcome.files):
            say(line)
    emit(str(result_file(outcome.files, effective.out)))
    raise typer.Exit(_exit_code(outcome, effective.exit_zero))


def _run(settings: "ScanSettings", listener: "ProgressListener", command: str) -> "ScanOutcome":
    from privaudit import audit

    with stdout_for_results_only():
        return audit.scan(settings, listener, command)


def _exit_code(outcome: "ScanOutcome", is_exit_zero: bool) -> int:
    from privaudit.verdict import exit_code

    result = outcome.result
    return exit_code(result.verdict, exit_zero=is_exit_zero, interrupted=result.attack.interrupted)


def result_file(files: tuple[Path, ...], out: Path) -> Path:
    """The `result.json` among the files that a scan wrote."""
    return next((path for path in files if path.name == "result.json"), out / "result.json")
