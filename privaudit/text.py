"""Strings for messages and orders: one line out of many, short lists, natural order. Knows nothing of the audit."""

import re
from collections.abc import Iterable


def one_line(text: object, limit: int = 200) -> str:
    """`text` on one printable line of at most `limit` characters, for messages that quote a file or another library."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def listed(items: Iterable[object], limit: int = 5) -> str:
    """The first `limit` items, comma separated, and how many more there are."""
    every = [one_line(item, 80) for item in items]
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `layer2` comes before `layer10`."""
    parts = re.split(r"0*([0-9]+)", name)
    # Digits compare by their number, then as text; int() would refuse very long ones.
    return tuple((1, len(part), part) if part.isdecimal() else (0, 0, part) for part in parts)
