"""Ids of records as they are compared: two that a reader cannot tell apart are the same id. Knows no results."""

import unicodedata
from collections.abc import Iterable

_REFUSED = ("Cc", "Cs")
"""Control characters and lone surrogates: they hide on a terminal, and the latter cannot be written as UTF-8."""

_INVISIBLE = "Cf"
"""Joiners, direction marks and the like: legitimate inside names, but they make no other name."""


def comparable(identifier: str) -> str:
    """The form under which ids are equal: compatibility forms, case, outer space and invisible characters do not count.

    Empty where nothing visible is left.
    """
    folded = unicodedata.normalize("NFKC", identifier).casefold()
    visible = "".join(c for c in folded if unicodedata.category(c) != _INVISIBLE)
    return unicodedata.normalize("NFKC", visible).strip()


def is_plain(identifier: str) -> bool:
    """Whether an id can be shown and written: not blank, no control characters, no lone surrogates."""
    return bool(comparable(identifier)) and all(unicodedata.category(c) not in _REFUSED for c in identifier)


def repeated(identifiers: Iterable[str]) -> tuple[str, str] | None:
    """The first two ids that are equal when compared, or None."""
    seen: dict[str, str] = {}
    for identifier in identifiers:
        key = comparable(identifier)
        if key in seen:
            return seen[key], identifier
        seen[key] = identifier
    return None
