"""Pooled numbers of a study as words, the same in every table.

In: shares, ranges, separations. Out: plain text. Must not know figures or markup.
"""

from privaudit.report import words
from privaudit.study.pooling import Range, Separation, Share


def counts_words(share: Share | None) -> str:
    """`30 of 150 (20 %)`."""
    return (
        words.NOT_MEASURED if share is None else f"{words.of(share.found, share.total)} ({words.percent(share.share)})"
    )


def interval_words(share: Share | None) -> str:
    """`14 % to 27 %`."""
    return words.NOT_MEASURED if share is None else f"{words.percent(share.low)} to {words.percent(share.high)}"


def range_words(value: Range | None) -> str:
    """A share over seeds: `61 % (58 % to 64 %)`."""
    if value is None:
        return words.NOT_MEASURED
    if value.low == value.high:
        return words.percent(value.mean)
    return f"{words.percent(value.mean)} ({words.percent(value.low)} to {words.percent(value.high)})"


def number_words(value: Range | None, digits: int = 2) -> str:
    """A number over seeds: `0.31 (0.28 to 0.35)`."""
    if value is None:
        return words.NOT_MEASURED
    if value.low == value.high:
        return words.number(value.mean, digits)
    return " ".join(
        (words.number(value.mean, digits), f"({words.number(value.low, digits)} to {words.number(value.high, digits)})")
    )


def separation_words(found: Separation | None) -> str:
    """Whether a point can be told from the row's baseline, None for the baseline itself."""
    if found is None:
        return "baseline"
    return {
        "separated": f"separated: {found.direction} the baseline",
        "not_separated": "not separated",
        "fewer_than_three_seeds": "fewer than three seeds",
        "not_measured": words.NOT_MEASURED,
    }[found.status]


def separation_word(found: Separation | None) -> str:
    """The same in a word, for narrow tables."""
    if found is None:
        return "baseline"
    return {
        "separated": found.direction,
        "not_separated": "not shown",
        "fewer_than_three_seeds": "too few",
        "not_measured": "–",
    }[found.status]


def tally_words(tally: dict[str, int]) -> str:
    """`leak found 2, inconclusive 1`; of a single kind its name alone."""
    named = [name.replace("_", " ") for name in tally]
    return named[0] if len(named) == 1 else ", ".join(f"{n} {c}" for n, c in zip(named, tally.values(), strict=True))
