"""Markdown that fits a pull-request comment.

In: a result. Out: Markdown without pictures, names of records or paths. Foreign text is escaped, so that it can neither
format nor mention anybody.
"""

import re
from typing import ClassVar

from privaudit.report import sections, sentences, words
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.pictures import Pictures
from privaudit.result import AuditResult

SIGN = {"leak_found": "🔺", "no_leak_found": "🔵", "inconclusive": "🔶"}


class MarkdownReport(AbstractReport):
    """For pull requests and release notes."""

    name: ClassVar[str] = "markdown"
    file_name: ClassVar[str] = "report.md"

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """Verdict, the two findings with controls and placebo, reasons, coverage, and where the rest is."""
        status = result.verdict.status
        lines = [
            f"## {SIGN[status]} privaudit: {words.VERDICT_TITLE[status].lower()}",
            "",
            _escape(sentences.headline(result)),
            "",
            *_findings(result),
            "",
            f"**{'Reasons' if status == 'inconclusive' else 'Grounds'}**",
            "",
            *(f"- {_escape(reason)}" for reason in result.verdict.reasons),
            "",
            "<details><summary>Rule, coverage and file</summary>",
            "",
            _escape(sentences.rule(result)),
            "",
            *_coverage(result),
            "",
            f"Model sha256 `{_code(result.model.sha256)}`, result sha256 `{_code(result.self_sha256)}`, "
            f"privaudit {_escape(result.tool.version)}, attack {_escape(sentences.attack_name(result))}, "
            f"budget {_escape(sentences.budget(result))}.",
            "",
            "</details>",
        ]
        return "\n".join(lines) + "\n"


def _findings(result: AuditResult) -> list[str]:
    lines = [
        "| finding | status | training images | 95 % bounds | allowance | controls | placebo |",
        "|---|---|---|---|---|---|---|",
    ]
    for card in sections.finding_cards(result):
        figure = card.figures[0] if card.figures else None
        counted = words.of(card.count, card.total) if card.is_counted else card.status_text
        bounds = f"{card.low:.1f} to {card.high:.1f}" if card.is_counted else card.status_text
        controls = figure.controls.text if figure else words.NOT_RUN
        placebo = figure.placebo.text if figure else words.NOT_RUN
        cells = (card.title, card.status_text, counted, bounds, str(card.allowance), controls, placebo)
        lines.append(f"| {' | '.join(_escape(cell) for cell in cells)} |")
    return lines


def _coverage(result: AuditResult) -> list[str]:
    states = {"done": "done", "failed": "**failed**", "not_run": words.NOT_RUN, "not_applicable": words.NOT_APPLICABLE}
    lines = ["| part of the audit | state |", "|---|---|"]
    return lines + [f"| {_escape(item.name)} | {states[item.state]} |" for item in sections.coverage(result)]


def _escape(text: str) -> str:
    """Foreign text as it reads: no formatting, no markup, no mention, no table cell of its own."""
    flat = " ".join(words.plain(text, 1500).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u2060")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", escaped)


def _code(text: str) -> str:
    return words.plain(text).replace("`", "'")
