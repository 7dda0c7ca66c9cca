"""The lines of figures under the headline: both findings with their bounds, and what was spent.

In: an `AuditResult`. Out: names and cells. Must not know markup.
"""

from dataclasses import dataclass

from privaudit.report import sentences, words
from privaudit.report.sections import Cell, FindingCard
from privaudit.result import AuditResult


@dataclass(frozen=True)
class BannerLine:
    """A name and what it amounts to."""

    name: str
    cell: Cell


def banner(result: AuditResult, cards: tuple[FindingCard, ...]) -> tuple[BannerLine, ...]:
    """One line a finding, then the budget."""
    return (*(BannerLine(card.title, _counted(card)) for card in cards), BannerLine("Budget", Cell(_budget(result))))


def _counted(card: FindingCard) -> Cell:
    if not card.is_counted:
        return Cell(card.status_text, "not_applicable" if card.status == "not_applicable" else "not_run")
    beside = card.figures[0].controls if card.figures else None
    controls = "" if beside is None or beside.kind != "value" else f"; controls {beside.text}"
    return Cell(
        f"{words.of(card.count, card.total)} training images, 95 % bounds {card.low:.1f} to {card.high:.1f}, "
        f"allowance {card.allowance:,}{controls}"
    )


def _budget(result: AuditResult) -> str:
    if not result.attack.runs:
        return "no attack that rebuilds images was run"
    return f"{sentences.budget(result)}, attack {sentences.attack_name(result)}"
