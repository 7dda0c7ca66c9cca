"""Text to the two streams: `emit` for machine results on stdout, `say` and `complain` for people on stderr."""

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from privaudit.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_LINE = 4000
"""Characters; enough for every adapter's reason, and an end to what a hostile file can print."""

_DEEPEST = 8


def emit(text: str) -> None:
    """Print a machine result to stdout; a reader that went away shows here rather than at exit."""
    print(text, flush=True)


def stdout_for_results_only() -> "contextlib.redirect_stdout[TextIO]":
    """Within this block, what libraries and a user's adapter print goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr)


def say(text: str) -> None:
    """Print one line for people to stderr, without control characters: names in it come from files.

    Spaces before it stay, since a list under a line is indented.
    """
    indent = " " * (len(text) - len(text.lstrip(" ")))
    print(f"{indent[:_DEEPEST]}{one_line(text, LONGEST_LINE)}", file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Print the one line that explains a failure; a closed stderr does not change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        say(f"privaudit: error: {text}")


def discard_stdout() -> None:
    """Point stdout at nothing, so that closing a broken pipe at exit raises no second error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def stderr_console() -> "Console":
    """A rich console on stderr that takes no text for markup."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table for people to stderr."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(one_line(cell), overflow="fold") for cell in row))
    stderr_console().print(table)
