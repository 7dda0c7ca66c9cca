"""A gate's decision as the page shows it.

In: a `GateDecision` and the result it was made on. Out: plain records of text. Must not know markup.
"""

from dataclasses import dataclass

from privaudit.gate_decision import GateDecision
from privaudit.report import words
from privaudit.report.decision import record_hider, target_text
from privaudit.result import AuditResult

_KINDS = {
    "passed": "done",
    "failed": "failed",
    "error": "inconclusive",
    "skipped": "not_run",
    "waived": "not_applicable",
    "applied": "done",
    "expired": "failed",
    "unmatched": "failed",
    "refused": "failed",
}
"""State of a check or waiver to the sign that the page has for it."""


@dataclass(frozen=True)
class CheckRow:
    """One rule of the gate; `kind` is the sign."""

    name: str
    status: str
    kind: str
    message: str


@dataclass(frozen=True)
class WaiverRow:
    """One waiver."""

    target: str
    status: str
    kind: str
    owner: str
    expires: str
    reason: str


@dataclass(frozen=True)
class ComparisonRow:
    """One finding against the baseline, in counts."""

    finding: str
    new: int
    gone: int
    unchanged: int
    test: str


@dataclass(frozen=True)
class GateSection:
    """The whole section."""

    exit_code: int
    policy: str
    policy_sha256: str | None
    checks: tuple[CheckRow, ...]
    waivers: tuple[WaiverRow, ...]
    comparisons: tuple[ComparisonRow, ...]


def gate_section(result: AuditResult, decision: GateDecision | None) -> GateSection | None:
    """Rows of text; records are named by their place in the result, as in the other formats."""
    if decision is None:
        return None
    hide = record_hider(result, decision)
    return GateSection(
        decision.exit_code,
        words.file_name(decision.policy),
        decision.policy_sha256,
        tuple(
            CheckRow(words.plain(c.name), c.status, _KINDS[c.status], words.plain(hide(c.message), 1000))
            for c in decision.checks
        ),
        tuple(
            WaiverRow(
                words.plain(target_text(waiver, hide)),
                waiver.status,
                _KINDS[waiver.status],
                words.plain(waiver.owner) or "not stated",
                words.plain(waiver.expires) or "not stated",
                words.plain(hide(waiver.reason), 600) or "not stated",
            )
            for waiver in decision.waivers
        ),
        tuple(
            ComparisonRow(
                c.finding,
                len(c.new),
                len(c.gone),
                len(c.unchanged),
                words.NOT_RUN if c.p_value is None else f"p = {words.p_value(c.p_value)}",
            )
            for c in decision.comparisons
        ),
    )
