"""The two findings of a result as a table: state, counts, interval, allowance, and the controls beside them."""

from rich.text import Text

from privaudit.cli.screen import Screen
from privaudit.cli.signs import STYLES, fitted
from privaudit.cli.summary import NAMES, STATES
from privaudit.result import AuditResult, Evidence, Finding

MEANINGS = {"rebuilt": "from weights alone", "membership": "with image in hand"}
"""What an attacker needs; as wide as the names."""

HEADINGS = ("state", "finding", "images", "95 % interval", "allowed", "controls")

_BAR = 14
"""Columns, as wide as the figures above it usually are."""

_NOTHING = "–"
"""What was not measured; 0 is a measurement."""


def findings_table(screen: Screen, result: AuditResult) -> None:
    """Print it; bars only where a person reads."""
    rows = [_row(screen, finding, result.evidence) for finding in result.verdict.findings]
    screen.table(HEADINGS, rows, right=("images", "allowed", "controls"), whole=HEADINGS[:1], n_titles=2)
    if any(is_counted(finding) for finding in result.verdict.findings):
        total = max(finding.total for finding in result.verdict.findings)
        bar = f"; bar 0 to {total}: ━ 95 % interval, ╋ counted, │ allowed" if screen.is_interactive else ""
        screen.line(f"controls: never trained on{bar}", "dim")


def is_counted(finding: Finding) -> bool:
    """Whether anything was counted; results of 1.0 do not say, so there the state does."""
    return finding.threshold is not None and finding.total > 0


def _row(screen: Screen, finding: Finding, evidence: Evidence | None) -> list[str | Text]:
    state = screen.sign(finding.status, STATES[finding.status])
    name = Text(NAMES[finding.name], style="bold", overflow="fold")
    if not screen.is_narrow:
        name.append(f"\n{MEANINGS[finding.name]}", style="not bold dim")
    if not is_counted(finding):
        return [state, name, _NOTHING, _NOTHING, str(finding.allowance), _NOTHING]
    interval = Text(f"{finding.interval_low:.1f} to {finding.interval_high:.1f}", overflow="fold")
    if screen.is_interactive:
        interval.append("\n").append_text(_bar(finding, screen.encoding))
    counted = f"{finding.count} of {finding.total}"
    return [state, name, counted, interval, str(finding.allowance), _controls(finding, evidence)]


def _controls(finding: Finding, evidence: Evidence | None) -> str:
    """How many images that were never trained on lie beyond the same threshold."""
    if evidence is None:
        return _NOTHING
    if finding.name == "rebuilt":
        return f"{evidence.calibrated_threshold.controls_leaked} of {evidence.controls}"
    return f"{evidence.membership.controls_found} of {evidence.controls}"


def _bar(finding: Finding, code: str) -> Text:
    """From 0 to all records: the interval, the count on it, and the allowance."""

    def place(value: float) -> int:
        return min(_BAR - 1, max(0, round(value / finding.total * (_BAR - 1))))

    low, high = place(finding.interval_low), place(finding.interval_high)
    bar = Text()
    for column in range(_BAR):
        if column == place(finding.count):
            sign, style = "╋", STYLES[finding.status]
        elif column == place(finding.allowance):
            sign, style = "│", "bold"
        elif low <= column <= high:
            sign, style = "━", STYLES[finding.status]
        else:
            sign, style = "┄", "dim"
        bar.append(fitted(sign, code), style=style)
    return bar
