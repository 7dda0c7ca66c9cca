"""`privaudit gate` and `privaudit report`: what a finished result allows, without torch."""

import typer

from privaudit.cli.console import emit, say
from privaudit.cli.options import (
    DecisionOption,
    ExitZero,
    FailOnOption,
    FormatOption,
    JobSummary,
    MaxLeaked,
    MaxReadable,
    OutOption,
    Quiet,
    ResultArgument,
    Reveal,
    Verbose,
)


def gate(
    result: ResultArgument,
    max_leaked: MaxLeaked = None,
    max_readable: MaxReadable = None,
    fail_on: FailOnOption = None,
    exit_zero: ExitZero = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Pass or fail from a finished RESULT.json.

    Needs neither GPU nor torch. Allowances default to those of the scan. Prints the verdict's status to stdout.
    """
    from privaudit import gate as gating
    from privaudit.cli.summary import verdict_lines
    from privaudit.config import check_options
    from privaudit.result_file import read_result

    overrides = check_options(max_leaked=max_leaked, max_readable=max_readable, fail_on=fail_on)
    verdict, code = gating.gate(read_result(result), **overrides, exit_zero=bool(exit_zero))
    if not quiet:
        for line in verdict_lines(verdict):
            say(line)
    emit(verdict.status)
    raise typer.Exit(int(code))


def report(
    result: ResultArgument,
    format: FormatOption = None,
    out: OutOption = None,
    reveal: Reveal = None,
    decision: DecisionOption = None,
    job_summary: JobSummary = False,
    verbose: Verbose = 0,
) -> None:
    """Render RESULT.json again.

    Uses it and the reconstructions.safetensors beside it; scans nothing. Prints the path of each file written to
    stdout.
    """
    from privaudit.config import check_options

    formats = check_options(format=format or ["html"])["format"]
    from privaudit import report as rendering  # after the check, because it takes a second

    decided = None if decision is None else rendering.read_decision(decision)
    if job_summary:
        rendering.summarise_job(result, decided)
    for path in rendering.write_reports(result, formats, bool(reveal), out, decided):
        emit(str(path))
