"""`demo` and `doctor` on one screen each: cases whose answer is known, and checks, with what they come to last."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from privaudit.cli.findings_table import findings_table
from privaudit.cli.scan_screen import doubts_of
from privaudit.cli.screen import Screen
from privaudit.cli.signs import VERDICT_SIGNS, shortened_middle
from privaudit.cli.summary import named

if TYPE_CHECKING:
    from privaudit.audit import ScanOutcome

_PATH_LENGTH = 300
_SHORTLY = {
    "positive control": "caught a network that is known to leak",
    "negative control": "accused none of the networks that do not",
}
"""Where they passed; the figures fill half a screen."""


def networks_screen(leaky: "ScanOutcome", untrained: "ScanOutcome") -> None:
    """Findings and verdict of both networks, and where the reports are."""
    screen = Screen()
    for title, outcome in (("trained until it leaks", leaky), ("the same, untrained", untrained)):
        verdict = outcome.result.verdict
        screen.gap()
        screen.line(title, "bold")
        findings_table(screen, outcome.result)
        for reason in list(doubts_of(outcome.result))[:1]:
            screen.line(reason, "dim")
        screen.signed(VERDICT_SIGNS[verdict.status], f"verdict: {verdict.status}{named(verdict)}")
    screen.gap()
    files = [path for outcome in (leaky, untrained) for path in outcome.files if path.suffix == ".html"]
    screen.files("wrote", [shortened_middle(path, _PATH_LENGTH) for path in files])


def as_expected() -> None:
    """The last line of a demo that came out as it must."""
    Screen().signed("not_found", "demo: the leak was found, the untrained network was not accused, exit 0")


def doctor_screen(checks: Sequence[tuple[str, bool, str]], verbosity: int = 0) -> None:
    """Checks as (name, whether it is in order, what was found); where all are, the last line says so.

    On a terminal what is in order is told shortly, unless `verbosity` is above 0.
    """
    screen = Screen()
    is_short = screen.is_interactive and verbosity == 0
    rows = [
        (
            screen.sign("passed", "ok") if is_ok else screen.sign("failed", "FAILED"),
            name,
            _SHORTLY.get(name, _from_home(detail)) if is_ok and is_short else _from_home(detail),
        )
        for name, is_ok, detail in checks
    ]
    screen.gap()
    screen.table(("state", "check", "found"), rows, whole=("state",), n_titles=2)
    if checks and all(is_ok for _, is_ok, _ in checks):
        screen.gap()
        screen.signed("not_found", f"doctor: all {len(checks)} checks passed, exit 0")


def _from_home(detail: str) -> str:
    """Without the user's name, which a picture of the terminal need not show."""
    try:
        home = str(Path.home())
    except RuntimeError:  # there is none
        return detail
    return detail.replace(f"{home}/", "~/") if len(home) > 1 else detail
