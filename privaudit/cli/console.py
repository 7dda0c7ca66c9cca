"""Text to the two streams: `emit` for machine results on stdout, `say` and `complain` for people on stderr."""

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from privaudit.cli.signs import plain

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_LINE = 4000
"""Characters; enough for every adapter's reason, and an end to what a hostile file can print."""

_DEEPEST = 8
_NOT_SET = ("", "0", "false", "no")


def emit(text: str) -> None:
    """Print a machine result to stdout; a reader that went away shows here rather than at exit."""
    print(text, flush=True)


def emit_json(text: str) -> None:
    """Print one JSON document to stdout: UTF-8 whatever the locale, and exactly one newline at its end."""
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # replaced by something that takes text alone
        emit(text.rstrip("\n"))
        return
    sys.stdout.flush()
    binary.write(f"{text.rstrip(chr(10))}\n".encode())
    binary.flush()


def stdout_for_results_only() -> "contextlib.redirect_stdout[TextIO]":
    """Within this block, what libraries and a user's adapter print goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr)


def say(text: str) -> None:
    """Print one line for people to stderr, without control characters: names in it come from files.

    Spaces before it stay, since a list under a line is indented.
    """
    indent = " " * (len(text) - len(text.lstrip(" ")))
    print(f"{indent[:_DEEPEST]}{plain(text, LONGEST_LINE)}", file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Print the one line that explains a failure; a closed stderr does not change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        say(f"privaudit: error: {text}")


def discard_stdout() -> None:
    """Point stdout at nothing, so that closing a broken pipe at exit raises no second error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_interactive() -> bool:
    """Whether a person sits before stderr: a terminal that can move its cursor, and no build machine."""
    return sys.stderr.isatty() and not _is_set("CI") and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def has_colour() -> bool:
    """Whether to send colours: to a person, or to whoever asks by FORCE_COLOR; never under NO_COLOR."""
    return not os.environ.get("NO_COLOR") and (is_interactive() or _is_set("FORCE_COLOR"))


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in _NOT_SET


def stderr_console() -> "Console":
    """A rich console on stderr that takes no text for markup and sends no escape code where there are no colours."""
    from rich.console import Console

    return Console(
        stderr=True,
        markup=False,
        highlight=False,
        emoji=False,
        color_system="auto" if has_colour() else None,
        force_terminal=has_colour() or is_interactive(),
    )


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table for people to stderr; a list where the terminal is too narrow for one."""
    from privaudit.cli.screen import Screen

    screen = Screen()
    screen.line(title, "bold")
    screen.table(headings, list(rows))
