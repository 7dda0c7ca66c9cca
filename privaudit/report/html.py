"""The HTML report: one offline file.

In: a result, its pictures, options. Out: HTML. Templates lie in `templates/` at the repository's root and in
`privaudit/templates` of an installed wheel. Autoescape and StrictUndefined are on: foreign text stays text, and a
missing value fails instead of vanishing.
"""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, FunctionLoader, StrictUndefined

import privaudit
from privaudit.errors import OutputError
from privaudit.report import advice, sections, sentences, words
from privaudit.report.decision import judged
from privaudit.report.evidence import evidence_view
from privaudit.report.exposure import exposure_view
from privaudit.report.gate_section import gate_section
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.nulls import left_out
from privaudit.report.pictures import Pictures
from privaudit.report.plots import charts
from privaudit.result import AuditResult


class HtmlReport(AbstractReport):
    """The document people read."""

    name: ClassVar[str] = "html"
    file_name: ClassVar[str] = "report.html"
    needs_pictures: ClassVar[bool] = True

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """One HTML file without scripts, external files or anything that depends on the time of rendering."""
        result = judged(result, options.decision)
        return _environment().get_template("report.html.j2").render(
            result=result,
            options=options,
            words=words,
            version=privaudit.__version__,
            title=words.VERDICT_TITLE[result.verdict.status],
            model_name=words.file_name(result.model.path),
            headline=sentences.headline(result),
            rule=sentences.rule(result),
            five_sentences=sentences.five_sentences(result),
            cards=sections.finding_cards(result),
            view=evidence_view(result, pictures, options),
            charts=charts(result),
            exposure=exposure_view(result),
            gate=gate_section(result, options.decision),
            left_out=() if result.evidence is None else left_out(result.evidence),
            class_rows=sections.class_rows(result.evidence),
            coverage=sections.coverage(result),
            limits=advice.limits(result),
            recommendations=advice.recommendations(result),
            references=advice.references(),
            glossary=advice.glossary(),
            identifiers=advice.identifiers(),
        )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = words.plain
    return environment


def _source(name: str) -> str | None:
    template = _templates().joinpath(*name.split("/"))
    return template.read_text(encoding="utf-8") if template.is_file() else None


@cache
def _templates() -> Traversable:
    """The folder of the installed package, otherwise the one beside the package in a checkout."""
    installed = files("privaudit").joinpath("templates")
    if installed.is_dir():
        return installed
    checkout = Path(privaudit.__file__).resolve().parent.parent / "templates"
    if checkout.is_dir():
        return checkout
    raise OutputError(f"expected report templates in {installed} or {checkout}, found neither; install privaudit again")
