"""Signs and text as a stream can carry them: Unicode, or ASCII where its encoding has nothing else.

In: any text, also from hostile files. Out: one printable line. Knows no results and imports no layout library.
"""

import sys
from typing import TYPE_CHECKING, Literal

from privaudit.text import one_line

if TYPE_CHECKING:
    from privaudit.result import VerdictStatus

Sign = Literal["found", "not_found", "inconclusive", "not_applicable", "not_run", "passed", "failed", "applies"]

SIGNS: dict[Sign, str] = {
    "found": "▲",
    "not_found": "●",
    "inconclusive": "◆",
    "not_applicable": "—",
    "not_run": "○",
    "passed": "✓",
    "failed": "✕",
    "applies": "✓",
}
"""The same as in the report, so that colour is never the only carrier."""

VERDICT_SIGNS: dict["VerdictStatus", Sign] = {
    "leak_found": "found",
    "no_leak_found": "not_found",
    "inconclusive": "inconclusive",
}

STYLES: dict[Sign, str] = {
    "found": "bold red",
    "not_found": "bold green",
    "inconclusive": "bold yellow",
    "not_applicable": "bold",
    "not_run": "bold",
    "passed": "green",
    "failed": "bold red",
    "applies": "bold",
}

_IN_ASCII = {
    "▲": "!",
    "●": "*",
    "◆": "?",
    "—": "-",
    "○": "o",
    "✓": "+",
    "✕": "x",
    "–": "-",
    "…": "...",
    "×": "x",
    "━": "=",
    "╋": "#",
    "┄": ".",
    "│": "|",
    "½": "1/2",
    "’": "'",
    "“": '"',
    "”": '"',
}


def encoding() -> str:
    """Of stderr, where people read."""
    return getattr(sys.stderr, "encoding", None) or "utf-8"


def fitted(text: str, code: str) -> str:
    """`text` in characters that `code` has: its own signs by ASCII ones, anything else by its escape."""
    try:
        text.encode(code)
    except UnicodeEncodeError:
        return "".join(_carried(character, code) for character in text)
    except LookupError:
        return fitted(text, "ascii")
    return text


def _carried(character: str, code: str) -> str:
    try:
        character.encode(code)
    except UnicodeEncodeError:
        return _IN_ASCII.get(character) or character.encode("ascii", "backslashreplace").decode("ascii")
    return character


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, cut between words."""
    if len(text) <= limit:
        return text
    cut = text[: limit + 1].rpartition(" ")[0] or text[:limit]
    return f"{cut.rstrip(' ,;:(')} …"


def plain(text: object, limit: int) -> str:
    """One line of at most about `limit` characters that stderr can carry, without control and direction characters."""
    return fitted(one_line(text, limit), encoding())


def shortened_middle(text: object, limit: int) -> str:
    """A path or name of at most `limit` characters: of a long one the beginning and, longer, the end."""
    line = one_line(text, 1 << 16)
    if len(line) > limit:
        head = limit // 3
        line = f"{line[:head]}…{line[-(limit - head - 1) :]}"
    return fitted(line, encoding())
