"""Histograms one below the other on a shared axis, their table and their description in words.

In: groups of scores, bin edges, thresholds. Out: an SVG, table rows, a sentence. Groups are told apart by their row and
the words in it; must not know results.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from privaudit.report import words
from privaudit.report.chart import INK, drawing, to_svg

N_BINS = 32

Group = tuple[str, NDArray[np.float64], str]
"""Name, scores (N,), colour."""


def histograms(
    name: str,
    groups: Sequence[Group],
    edges: NDArray[np.float64],
    lines: Sequence[tuple[float, str, str]],
    label: str,
    *,
    is_log: bool,
) -> str:
    """An SVG with one row a group; `lines` are thresholds (value, name, line style) through all rows."""
    with drawing(0.6 + 0.92 * len(groups), len(groups)) as (figure, rows):
        for axes, (group, values, colour) in zip(rows, groups, strict=True):
            _histogram_row(axes, group, values, colour, edges)
            for value, _, style in lines:
                axes.axvline(value, color=INK, linestyle=style, linewidth=1.2)
        for i, (value, text, _) in enumerate(sorted(lines)):
            is_left = (len(lines) > 1 and i == 0) or value > 0.7 * edges[-1]
            rows[0].annotate(
                text, (value, 1), (-3 if is_left else 3, 22), ("data", "axes fraction"), "offset points",
                ha="right" if is_left else "left", va="top", color=INK, fontsize=8.5,
            )  # fmt: skip
        if is_log:
            rows[-1].set_xscale("log")
            rows[-1].xaxis.set_minor_locator(NullLocator())
            rows[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.power_of_ten(value)))
        rows[-1].set_xlim(edges[0], edges[-1])
        rows[-1].set_xlabel(label)
        return to_svg(figure, name)


def _histogram_row(
    axes: Axes, group: str, values: NDArray[np.float64], colour: str, edges: NDArray[np.float64]
) -> None:
    if len(values):
        axes.hist(values, bins=edges.tolist(), color=colour, alpha=0.85, linewidth=0)
    text = f"{group} ({len(values):,})" if len(values) else f"{group}: {words.NOT_RUN}"
    axes.set_title(text, loc="left", pad=2)
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.tick_params(axis="x", length=2)


def histogram_rows(groups: Sequence[Group], edges: NDArray[np.float64], style: str) -> tuple[tuple[str, ...], ...]:
    """The drawn counts: bin, then one count a group."""
    counts = [np.histogram(values, bins=edges)[0] if len(values) else None for _, values, _ in groups]
    return tuple(
        (
            f"{style.format(low)} to {style.format(high)}",
            *(words.NOT_RUN if count is None else str(count[i]) for count in counts),
        )
        for i, (low, high) in enumerate(pairwise(edges))
    )


def medians(groups: Sequence[Group], digits: int = 2) -> str:
    """Median and size of each group, for the alternative text."""
    said = [
        f"{name}: median {words.number(float(np.median(values)), digits)} of {len(values):,}"
        if len(values)
        else f"{name}: {words.NOT_RUN}"
        for name, values, _ in groups
    ]
    return "; ".join(said) + "."
