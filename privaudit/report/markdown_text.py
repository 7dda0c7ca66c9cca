"""Foreign text inside Markdown. In: any text. Out: text that reads the same and does nothing else."""

import re
from collections.abc import Sequence

from privaudit.report import words

_JOINER = "\u2060"


def escape(text: str, limit: int = 1500) -> str:
    """As it reads: no formatting, no markup, no mention, no link, no table cell of its own, on one line."""
    flat = " ".join(words.plain(text, limit).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", f"@{_JOINER}")
    # GitHub makes links of bare addresses.
    unlinked = re.sub(r"(?i)(https?|ftp|mailto|www)([:.])", rf"\1{_JOINER}\2", escaped)
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", unlinked)


def code(text: str) -> str:
    """Inside backticks."""
    return words.plain(text).replace("`", "'")


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table whose cells are escaped."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return lines + [f"| {' | '.join(escape(cell, 400) for cell in row)} |" for row in rows]
