"""The HTML report: one offline file.

In: a result, its pictures, options. Out: HTML, laid out by the templates of `privaudit.report.environment`.
"""

from typing import ClassVar

import privaudit
from privaudit.report import advice, sections, sentences, words
from privaudit.report.banner import banner
from privaudit.report.decision import judged
from privaudit.report.environment import render_page
from privaudit.report.evidence import evidence_view
from privaudit.report.exposure import exposure_view
from privaudit.report.gate_section import gate_section
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.leakers import classes_chart
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
        cards = sections.finding_cards(result)
        class_rows = sections.class_rows(result.evidence)
        return render_page(
            options.templates,
            result=result,
            options=options,
            words=words,
            version=privaudit.__version__,
            title=words.VERDICT_TITLE[result.verdict.status],
            model_name=words.file_name(result.model.path),
            headline=sentences.headline(result),
            rule=sentences.rule(result),
            five_sentences=sentences.five_sentences(result),
            cards=cards,
            view=evidence_view(result, pictures, options),
            charts=charts(result),
            exposure=exposure_view(result),
            gate=gate_section(result, options.decision),
            left_out=() if result.evidence is None else left_out(result.evidence),
            class_rows=class_rows,
            classes_chart=classes_chart(class_rows),
            coverage=sections.coverage(result),
            limits=advice.limits(result),
            banner=banner(result, cards),
            measured=advice.measured(result),
            recommendations=advice.recommendations(result),
            references=advice.references(),
            glossary=advice.glossary(),
            identifiers=advice.identifiers(),
        )  # fmt: skip
