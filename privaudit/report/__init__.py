"""Finished results as files: an explicit registry of formats and the one function that writes them.

In: the path of a `result.json`. Out: report files beside it or in another directory. Must not know torch.
"""

from collections.abc import Sequence
from pathlib import Path

from privaudit.errors import ConfigError
from privaudit.gate_decision import GateDecision
from privaudit.report.decision import judged, read_decision
from privaudit.report.html import HtmlReport
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.job_summary import append_job_summary
from privaudit.report.junit import JunitReport
from privaudit.report.markdown import MarkdownReport
from privaudit.report.modelcard import ModelCardReport
from privaudit.report.pdf import find_browser, write_pdf
from privaudit.report.pictures import FILE_NAME as PICTURES_FILE_NAME
from privaudit.report.pictures import Pictures, read_pictures
from privaudit.report.redaction import public_decision, public_result
from privaudit.report.sarif import SarifReport
from privaudit.result_file import read_result, write_private

REPORTS: dict[str, AbstractReport] = {
    report.name: report for report in (HtmlReport(), MarkdownReport(), SarifReport(), JunitReport(), ModelCardReport())
}

__all__ = [
    "REPORTS",
    "AbstractReport",
    "Pictures",
    "ReportOptions",
    "append_job_summary",
    "read_decision",
    "summarise_job",
    "write_reports",
]


def write_reports(
    result_path: Path,
    formats: Sequence[str],
    reveal: bool = False,
    out: Path | None = None,
    decision: GateDecision | None = None,
    *,
    public: bool = False,
    templates: Path | None = None,
    pdf: bool = False,
) -> tuple[Path, ...]:
    """Render a finished result; every format is rendered before the first file is written.

    Args:
        result_path: a `result.json`; `reconstructions.safetensors` is looked for beside it.
        formats: names in `REPORTS`.
        reveal: show pictures as they are instead of destroying their pixels.
        out: directory to write to, None for the one of `result_path`.
        decision: what a gate decided on this result, to be shown beside it.
        public: leave out every picture, path and record, and write `report.public.html` and so on, so that the file
            for the owner is neither replaced nor mistaken for it.
        templates: folder of templates for the HTML report that come before the shipped ones.
        pdf: print the HTML report to a PDF as well.

    Returns:
        Paths of the written files, in the order of `formats`, a PDF behind its HTML.

    Raises:
        ConfigError: an unknown format, `reveal` with `public`, templates that do not render, `pdf` without a browser
            or without `html` among the formats.
        ResultError: the result or its pictures are missing, damaged or edited, or the decision is on another result.
        OutputError: the directory cannot be written.
    """
    unknown = [name for name in formats if name not in REPORTS]
    if unknown:
        raise ConfigError(f"expected a format of {', '.join(REPORTS)}, found {', '.join(unknown)}; choose one of them")
    if reveal and public:
        raise ConfigError("expected --reveal or --public, found both; a public report carries no picture")
    if (pdf or templates is not None) and "html" not in formats:
        raise ConfigError(f"expected html among the formats with --pdf and --templates, found {', '.join(formats)}")
    browser = find_browser() if pdf else ""  # before anything is written
    result = read_result(result_path)
    judged(result, decision)  # refuses a decision on another result, whatever the formats do with it
    reports = [REPORTS[name] for name in dict.fromkeys(formats)]
    pictures = None
    if any(report.needs_pictures for report in reports) and not public:
        pictures = read_pictures(result_path.parent / PICTURES_FILE_NAME, result)
    if public:
        result, decision = public_result(result), public_decision(decision, result)
    options = ReportOptions(reveal=reveal, decision=decision, public=public, templates=templates)
    directory = result_path.parent if out is None else out
    rendered = [
        (directory / _file_name(report, public), report.render(result, pictures, options)) for report in reports
    ]
    written: list[Path] = []
    for path, text in rendered:
        write_private(path, text.encode("utf-8"))
        written += [path, write_pdf(path, browser)] if pdf and path.suffix == ".html" else [path]
    return tuple(written)


def _file_name(report: AbstractReport, public: bool) -> str:
    """`report.public.html` of `report.html`."""
    stem, dot, ending = report.file_name.partition(".")
    return f"{stem}.public{dot}{ending}" if public else report.file_name


def summarise_job(result_path: Path, decision: GateDecision | None = None) -> Path:
    """Append the Markdown report to the summary of the GitHub Actions job that is running; returns its path.

    Raises:
        ConfigError: no job is running.
        ResultError: as for `write_reports`.
        OutputError: the summary cannot be written.
    """
    return append_job_summary(MarkdownReport().render(read_result(result_path), None, ReportOptions(decision=decision)))
