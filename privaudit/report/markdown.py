"""Markdown that fits a pull-request comment.

In: a result, and a gate's decision where there is one. Out: Markdown without pictures, names of records or paths.
Foreign text is escaped, so that it can neither format nor mention anybody.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from privaudit.gate_decision import GateDecision, WaiverState
from privaudit.report import sections, sentences, words
from privaudit.report.decision import judged, record_hider, target_text
from privaudit.report.figures import finding_figures
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.markdown_text import code, escape, table
from privaudit.report.pictures import Pictures
from privaudit.result import AuditResult

N_ROWS = 20
"""Checks and waivers listed: a comment holds 65,536 characters."""

SIGN = {"leak_found": "🔺", "no_leak_found": "🔵", "inconclusive": "🔶"}


class MarkdownReport(AbstractReport):
    """For pull requests and release notes."""

    name: ClassVar[str] = "markdown"
    file_name: ClassVar[str] = "report.md"

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """Verdict, the two findings with controls and placebo, reasons, coverage, and where the rest is."""
        decision = options.decision
        result = judged(result, decision)
        status = result.verdict.status
        lines = [
            f"## {SIGN[status]} privaudit: {words.VERDICT_TITLE[status].lower()}",
            "",
            escape(sentences.headline(result)),
            "",
            *_findings(result),
            "",
            *(_gate(result, decision) if decision is not None else ()),
            f"**{'Reasons' if status == 'inconclusive' else 'Grounds'}**",
            "",
            *(f"- {escape(reason)}" for reason in result.verdict.reasons),
            "",
            "<details><summary>Rule, coverage and file</summary>",
            "",
            escape(sentences.rule(result)),
            "",
            *(f"- {words.FINDING_TITLE[name]}: {escape(said)}" for name, said in _figures(result)),
            "",
            *_coverage(result),
            "",
            f"Model sha256 `{code(result.model.sha256)}`, result sha256 `{code(result.self_sha256)}`, "
            f"privaudit {escape(result.tool.version)}, attack {escape(sentences.attack_name(result))}, "
            f"budget {escape(sentences.budget(result))}.",
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
        lines.append(f"| {' | '.join(escape(cell) for cell in cells)} |")
    return lines


def _coverage(result: AuditResult) -> list[str]:
    states = {"done": "done", "failed": "**failed**", "not_run": words.NOT_RUN, "not_applicable": words.NOT_APPLICABLE}
    lines = ["| part of the audit | state |", "|---|---|"]
    return lines + [f"| {escape(item.name)} | {states[item.state]} |" for item in sections.coverage(result)]


def _figures(result: AuditResult) -> Iterator[tuple[str, str]]:
    for finding in result.verdict.findings:
        figures = finding_figures(result, finding)
        if figures is not None:
            yield finding.name, figures.sentence()


def _gate(result: AuditResult, decision: GateDecision) -> list[str]:
    """What the gate decided, check by check, with every waiver and what changed since the baseline."""
    hide = record_hider(result, decision)
    passes = "passes" if decision.exit_code == 0 else "does not pass"
    rules, grounds = escape(words.file_name(decision.policy)), result.verdict.reasons  # which follow further down
    lines = [f"**The gate {passes}**: exit code {decision.exit_code}, rules from {rules}.", ""]
    lines += [f"- {escape(hide(reason), 400)}" for reason in decision.reasons[:N_ROWS] if reason not in grounds]
    checks = [(check.name, check.status, hide(check.message)) for check in decision.checks]
    lines += ["", *_shortened(("check", "status", "why"), checks)]
    if decision.waivers:
        waivers = [
            (target_text(waiver, hide), waiver.status, *(said or "not stated" for said in _terms(waiver, hide)))
            for waiver in sorted(decision.waivers, key=lambda waiver: waiver.status == "applied")
        ]
        lines += ["", *_shortened(("waiver of", "status", "until", "owner", "reason"), waivers)]
    if decision.comparisons:
        rows = [
            (
                words.FINDING_TITLE[one.finding],
                *(words.number(len(ids)) for ids in (one.new, one.gone, one.unchanged)),
                words.number(one.shared),
                words.p_value(one.p_value),
            )
            for one in decision.comparisons
        ]
        heads = ("since the baseline", "new", "gone", "unchanged", "records in both", "exact matched test, p")
        lines += ["", *table(heads, rows)]
    return [*lines, ""]


def _terms(waiver: WaiverState, hide: Callable[[str], str]) -> tuple[str, str, str]:
    return waiver.expires, waiver.owner, hide(waiver.reason)


def _shortened(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    more = [] if len(rows) <= N_ROWS else ["", f"… and {len(rows) - N_ROWS} more in gate.json."]
    return table(heads, rows[:N_ROWS]) + more
