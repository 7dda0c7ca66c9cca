"""A gate's decision on a terminal: the lines that a log has, wrapped, with a sign for each check."""

from collections.abc import Sequence

from privaudit.cli.screen import Screen
from privaudit.cli.signs import VERDICT_SIGNS, Sign
from privaudit.gate_decision import CheckStatus, GateDecision

_SIGNS: dict[CheckStatus, Sign] = {
    "passed": "passed",
    "failed": "failed",
    "error": "inconclusive",
    "skipped": "not_run",
    "waived": "not_applicable",
}
_OUTCOMES: dict[int, Sign] = {0: "not_found", 1: "found", 3: "inconclusive"}


def gate_screen(decision: GateDecision, lines: Sequence[str], warning: str | None) -> None:
    """Print it.

    Args:
        decision: of the gate.
        lines: what a log has of it; the first is the verdict, the last the exit code.
        warning: what to be careful about.
    """
    screen = Screen()
    signs = {f"- {check.status} {check.name}: {check.message}": _SIGNS[check.status] for check in decision.checks}
    screen.signed(VERDICT_SIGNS[decision.verdict.status], lines[0])
    for line in lines[1:-1]:
        if line in signs:
            screen.signed(signs[line], line.removeprefix("- "), is_verdict=False)
        else:
            screen.line(line.strip(), indent=2)
    if warning is not None:
        screen.signed("inconclusive", warning, is_verdict=False)
    screen.signed(_OUTCOMES.get(decision.exit_code, "inconclusive"), lines[-1])
