"""`privaudit scan`: settings, the audit, a summary, an exit code."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from privaudit.cli.console import emit, emit_json, stdout_for_results_only
from privaudit.cli.options import AsJson, ModelArgument, NoProgress, Quiet, Verbose, with_scan_options
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
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_progress: NoProgress = False,
    **settings: object,
) -> None:
    """Rebuild training images from MODEL and report.

    Without options, settings come from the checkpoint's metadata and from a privaudit.toml beside or above it. Prints
    the path of result.json to stdout, or with --json what is in it.

    Only --reference and --control together allow a false-positive rate; without them the verdict is inconclusive.
    """
    from privaudit.cli.output import sole_use
    from privaudit.cli.progress import listener_for
    from privaudit.progress import JsonLinesListener, Tee

    is_quiet = quiet or as_json
    effective = effective_settings(model, settings, is_quiet, verbose)
    command = shlex.join(["privaudit", *(context.obj or ["scan", str(model)])])
    shown = listener_for(is_quiet, verbose, no_progress)
    # The redirection is the outer one: bars put back the stdout that they found, when they end.
    log_file = effective.out / "progress.jsonl"
    with sole_use(effective.out), stdout_for_results_only(), shown as people, JsonLinesListener(log_file) as log:
        outcome = _run(effective, Tee(people, log), command)
    code = _exit_code(outcome, effective.exit_zero)
    if not is_quiet:
        from privaudit.cli.scan_screen import scan_screen

        scan_screen(outcome.result, outcome.files, code, verbose)
    if as_json:
        from privaudit.result_file import to_json

        emit_json(to_json(outcome.result))
    else:
        emit(str(result_file(outcome.files, effective.out)))
    raise typer.Exit(code)


def _run(settings: "ScanSettings", listener: "ProgressListener", command: str) -> "ScanOutcome":
    from privaudit import audit

    return audit.scan(settings, listener, command)


def _exit_code(outcome: "ScanOutcome", is_exit_zero: bool) -> int:
    from privaudit.verdict import exit_code

    result = outcome.result
    return exit_code(result.verdict, exit_zero=is_exit_zero, interrupted=result.attack.interrupted)


def result_file(files: tuple[Path, ...], out: Path) -> Path:
    """The `result.json` among the files that a scan wrote."""
    return next((path for path in files if path.name == "result.json"), out / "result.json")
