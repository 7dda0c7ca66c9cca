"""A chart as inline SVG that follows the page's theme, and the matplotlib style behind it.

In: a matplotlib figure. Out: an `<svg>` element with real text, theme variables instead of colours, unique ids and no
metadata, the same bytes each time. Must not know results.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#010101", "#020202", "#030303"
MEMBER, CONTROL, PLACEBO = "#040404", "#050505", "#060606"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    MEMBER: "var(--member)",
    CONTROL: "var(--control)",
    PLACEBO: "var(--placebo)",
}
"""Stand-in colours that matplotlib draws with; the page's CSS decides what they look like in light and dark."""

WIDTH_INCHES = 4.9
"""353 points: two charts side by side on a desk screen, one on a phone, where 9.5 pt text still is over 8 px high."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "privaudit",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.color": GRID,
    "hatch.linewidth": 0.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Chart:
    """One chart of the report. Without `svg` it says in `absent` why it was not drawn.

    Attributes:
        name: unique on the page, used in ids.
        title: what is compared.
        caption: how to read it.
        alt: what it shows, for who cannot see it.
        svg: an `<svg>` element, or empty.
        columns: heads of the data table, `rows` its cells.
        absent: why there is no chart.
        absent_kind: whether what it would show was not run or does not apply.
    """

    name: str
    title: str
    caption: str = ""
    alt: str = ""
    svg: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    absent: str = ""
    absent_kind: Literal["not_run", "not_applicable"] = "not_run"


@contextmanager
def drawing(
    height_inches: float, n_rows: int = 1, ratios: Sequence[float] | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in the report's style with `n_rows` axes that share the horizontal one, as high as `ratios` says."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        axes = figure.subplots(n_rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        yield figure, list(axes)


def to_svg(figure: Figure, name: str) -> str:
    """The figure as one `<svg>` element whose ids start with `name`; call it inside `drawing`."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    svg = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--font)", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return re.sub(r"<!--.*?-->|\n\s*(?=<)", "", svg, flags=re.DOTALL).strip()
