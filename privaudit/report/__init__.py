"""Finished results as files: an explicit registry of formats and the one function that writes them.

In: the path of a `result.json`. Out: report files beside it or in another directory. Must not know torch.
"""

from collections.abc import Sequence
from pathlib import Path

from privaudit.errors import ConfigError
from privaudit.report.html import HtmlReport
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.junit import JunitReport
from privaudit.report.markdown import MarkdownReport
from privaudit.report.pictures import FILE_NAME as PICTURES_FILE_NAME
from privaudit.report.pictures import Pictures, read_pictures
from privaudit.report.sarif import SarifReport
from privaudit.result_file import read_result, write_private

REPORTS: dict[str, AbstractReport] = {
    report.name: report for report in (HtmlReport(), MarkdownReport(), SarifReport(), JunitReport())
}

__all__ = ["REPORTS", "AbstractReport", "Pictures", "ReportOptions", "write_reports"]


def write_reports(
    result_path: Path, formats: Sequence[str], reveal: bool = False, out: Path | None = None
) -> tuple[Path, ...]:
    """Render a finished result; every format is rendered before the first file is written.

    Args:
        result_path: a `result.json`; `reconstructions.safetensors` is looked for beside it.
        formats: names in `REPORTS`.
        reveal: show pictures as they are instead of destroying their pixels.
        out: directory to write to, None for the one of `result_path`.

    Returns:
        Paths of the written files, in the order of `formats`.

    Raises:
        ConfigError: an unknown format.
        ResultError: the result or its pictures are missing, damaged or edited.
        OutputError: the directory cannot be written.
    """
    unknown = [name for name in formats if name not in REPORTS]
    if unknown:
        raise ConfigError(f"expected a format of {', '.join(REPORTS)}, found {', '.join(unknown)}; choose one of them")
    result = read_result(result_path)
    reports = [REPORTS[name] for name in dict.fromkeys(formats)]
    pictures = None
    if any(report.needs_pictures for report in reports):
        pictures = read_pictures(result_path.parent / PICTURES_FILE_NAME, result)
    options = ReportOptions(reveal=reveal)
    directory = result_path.parent if out is None else out
    rendered = [(directory / report.file_name, report.render(result, pictures, options)) for report in reports]
    for path, text in rendered:
        write_private(path, text.encode("utf-8"))
    return tuple(path for path, _ in rendered)
