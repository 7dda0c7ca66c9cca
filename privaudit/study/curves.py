"""How close the records of a row come, best first: a curve a point.

In: a row of a study and its cells. Out: a `Chart`. Must not know pictures or markup.
"""

from collections.abc import Iterable, Sequence

from matplotlib.ticker import PercentFormatter

from privaudit.report.chart import GRID, Chart, drawing, to_svg
from privaudit.study.figures import LABEL_LENGTH, LOOKS, NOT_DONE, PUBLISHED_SSIM, legend
from privaudit.study.record import CellRecord, RowRecord
from privaudit.text import one_line


def ssim_chart(row: RowRecord, cells: Sequence[CellRecord]) -> Chart:
    """Best SSIM of every record, falling, one line a point."""
    name, title = f"ssim-{row.name}", "How closely records come, best first"
    curves = {point.label: _sorted_ssim(cells, point.label) for point in row.points}
    drawn = {label: values for label, values in curves.items() if values}
    shown = dict(list(drawn.items())[: len(LOOKS)])
    if not shown:
        return Chart(name, title, absent=NOT_DONE)
    with drawing(2.6 + 0.17 * len(shown)) as (figure, (axes,)):
        axes.axhline(PUBLISHED_SSIM, color=GRID, linewidth=1.6)
        for (label, values), (colour, dash, mark) in zip(shown.items(), LOOKS, strict=False):
            shares = [(index + 0.5) / len(values) for index in range(len(values))]
            axes.plot(shares, values, linestyle=dash, color=colour, marker=mark, markersize=4.5, linewidth=1.4,
                      markevery=max(1, len(values) // 6), label=one_line(label, LABEL_LENGTH))  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(min(0.0, *(values[-1] for values in shown.values())), 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("share of the training images")
        axes.set_ylabel("best SSIM")
        axes.grid(True, axis="y", linewidth=0.6)
        legend(figure, axes)
        svg = to_svg(figure, name)
    left_out = len(drawn) - len(shown)
    return Chart(
        name,
        title,
        f"Each training image's closest reconstruction, all seeds of a point together; the grey line is SSIM "
        f"{PUBLISHED_SSIM}." + (f" {left_out} further points are in the data table alone." if left_out else ""),
        f"{title}: " + "; ".join(f"{one_line(label, 80)} median {_at(v, 0.5):.2f}" for label, v in shown.items()) + ".",
        svg,
        ("point", "records", "best", "upper quarter", "median", "lower quarter", "lowest"),
        tuple(
            (one_line(label, 80), str(len(v)), *(f"{_at(v, place):.3f}" for place in (0, 0.25, 0.5, 0.75, 1)))
            for label, v in drawn.items()
        ),
    )


def _sorted_ssim(cells: Iterable[CellRecord], label: str) -> list[float]:
    some = [cell.counts for cell in cells if cell.point == label and cell.counts is not None]
    return sorted((value for counts in some for value in counts.ssim), reverse=True)


def _at(values: Sequence[float], place: float) -> float:
    """Of sorted values the one at `place` in [0, 1]."""
    return values[round(place * (len(values) - 1))]
