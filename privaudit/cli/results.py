"""`privaudit report`: a finished result rendered again, without torch."""

from privaudit.cli.console import emit
from privaudit.cli.options import (
    DecisionOption,
    FormatOption,
    JobSummary,
    OutOption,
    Pdf,
    Public,
    ResultArgument,
    Reveal,
    Templates,
    Verbose,
)


def report(
    result: ResultArgument,
    format: FormatOption = None,
    out: OutOption = None,
    reveal: Reveal = None,
    decision: DecisionOption = None,
    public: Public = False,
    pdf: Pdf = False,
    templates: Templates = None,
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
    written = rendering.write_reports(
        result, formats, bool(reveal), out, decided, public=public, templates=templates, pdf=pdf
    )
    if job_summary:
        rendering.summarise_job(result, decided)
    for path in written:
        emit(str(path))
