"""What a setting does to what can be rebuilt, with the accuracy that it costs.

In: a row of a study. Out: a `Chart` as in the report, each with alt text and its numbers. Must not know pictures or
markup. Points and lines differ by mark and dash, never by colour alone.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from privaudit.report import words
from privaudit.report.chart import CONTROL, INK, MEMBER, MUTED, PLACEBO, Chart, drawing, to_svg
from privaudit.study.axes import Axis, Series, axis_of
from privaudit.study.pooling import Pooled, Share
from privaudit.study.record import PointRecord, RowRecord
from privaudit.study.wording import counts_words, interval_words, range_words
from privaudit.text import one_line

LOOKS = (
    (MEMBER, "-", "o"),
    (CONTROL, "--", "s"),
    (PLACEBO, ":", "^"),
    (INK, "-.", "D"),
    (MUTED, "-", "v"),
    (MEMBER, "--", "P"),
    (CONTROL, ":", "X"),
    (PLACEBO, "-.", "*"),
)
"""Colour, dash and mark of one line after the other; no two share dash and mark."""

PUBLISHED_SSIM = 0.4
_WIDE_RATIO = 10
_NARROWEST = 0.04  # of an axis of accuracies, so that its ticks are whole percents
_DODGE_POINTS = 3.0
"""Between marks of two lines at one place."""

LABEL_LENGTH = 40
NOT_DONE = "No cell of this row is done."


def effect_chart(row: RowRecord) -> Chart:
    """Share rebuilt, with intervals and seeds, along the row's setting or point by point."""
    name, title = f"effect-{row.name}", f"What could be rebuilt ({row.name})"
    if not any(point.pooled.rebuilt for point in row.points):
        is_done = any(point.pooled.seeds for point in row.points)
        why = "No threshold could be calibrated; the table has the counts above SSIM 0.4." if is_done else NOT_DONE
        return Chart(name, title, absent=why)
    axis = axis_of(row)
    return (
        _named_points(name, title, row.points)
        if axis is None
        else _along(name, f"What could be rebuilt against {axis.words} ({row.name})", axis)
    )


def _along(name: str, title: str, axis: Axis) -> Chart:
    points = [point for series in axis.series for _, point in series.points]
    has_accuracy = any(point.pooled.held_out_accuracy for point in points)
    height = 3.0 + 0.9 * has_accuracy + 0.18 * len(axis.series)
    with drawing(height, 1 + has_accuracy, (3, 1.1) if has_accuracy else None) as (figure, axes):
        is_alone = sum(series.is_line for series in axis.series) == 1
        for index, series in enumerate(axis.series):
            look, shift = LOOKS[index % len(LOOKS)], (index - (len(axis.series) - 1) / 2) * _DODGE_POINTS / 72
            _draw_shares(axes[0], series, look, _shifted(axes[0], shift), is_alone)
            if has_accuracy:
                _draw_accuracy(axes[1], series, look, _shifted(axes[1], shift))
        _scale(axes[-1], axis)
        _share_axis(axes[0], "images rebuilt")
        if has_accuracy:
            axes[1].set_ylabel("held-out\naccuracy")
            low, high = axes[1].get_ylim()
            spare = max(0.0, _NARROWEST - (high - low)) / 2
            axes[1].set_ylim(low - spare, high + spare)
            axes[1].yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes[1].grid(True, axis="y", linewidth=0.6)
        axes[-1].set_xlabel(axis.words)
        legend(figure, axes[0])
        svg = to_svg(figure, name)
    rows = [_numbers(point, f"{x:g}") for series in axis.series for x, point in series.points]
    return Chart(
        name,
        title,
        "Share of the training images that were rebuilt at the calibrated threshold, all seeds together, with "
        "Clopper–Pearson 95 % intervals; small open marks are single seeds."
        + (" Below: accuracy on images held out, mean and range over seeds." if has_accuracy else ""),
        f"{title}: " + "; ".join(f"{_named(series, x, axis)} {_told(point.pooled)}" for series in axis.series
                                 for x, point in series.points) + ".",
        svg,
        (axis.words, *_COLUMNS),
        tuple(rows),
    )  # fmt: skip


def _shifted(axes: Axes, inches: float) -> Transform:
    """Beside where the data are, so that marks at one place stay apart."""
    figure = axes.get_figure()
    assert figure is not None
    return axes.transData + ScaledTranslation(inches, 0, figure.dpi_scale_trans)


def _make_room(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """Widen the axes to these places; what is drawn shifted does not count by itself."""
    axes.update_datalim(places)
    axes.autoscale_view()


def _named(series: Series, x: float, axis: Axis) -> str:
    return f"{axis.words} {x:g}" + (f" ({series.label})" if series.label else "")


def _told(one: Pooled) -> str:
    share = one.rebuilt
    return words.NOT_MEASURED if share is None else words.percent(share.share)


def _draw_shares(axes: Axes, series: Series, look: tuple[str, str, str], place: Transform, is_alone: bool) -> None:
    """One line of pooled shares with intervals; a lone line also has what lies above SSIM 0.4."""
    colour, dash, mark = look
    label = series.label or "rebuilt, calibrated threshold"
    _draw_line(axes, [(x, point.pooled.rebuilt) for x, point in series.points], colour,
               dash if series.is_line else "none", mark, label, place)  # fmt: skip
    _make_room(axes, [(x, 0.0) for x, _ in series.points])
    for x, point in series.points:
        share = point.pooled.rebuilt
        if share is not None:
            axes.plot([x] * len(share.by_seed), share.by_seed, mark, color=colour, markerfacecolor="none",
                      markersize=3.5, markeredgewidth=0.8, linestyle="none", clip_on=False,
                      transform=place)  # fmt: skip
    if is_alone and series.is_line:
        above = [(x, point.pooled.published) for x, point in series.points]
        _draw_line(axes, above, PLACEBO, ":", "^", f"SSIM above {PUBLISHED_SSIM}", axes.transData)


def _draw_line(
    axes: Axes,
    pairs: Sequence[tuple[float, Share | None]],
    colour: str,
    dash: str,
    mark: str,
    label: str,
    place: Transform,
) -> None:
    known = [(x, share) for x, share in pairs if share is not None]
    if not known:
        return
    axes.errorbar(
        [x for x, _ in known],
        [share.share for _, share in known],
        yerr=[[share.share - share.low for _, share in known], [share.high - share.share for _, share in known]],
        color=colour, linestyle=dash, marker=mark, markersize=5.5, linewidth=1.4, capsize=3, clip_on=False,
        label=one_line(label, LABEL_LENGTH), transform=place,
    )  # fmt: skip


def _draw_accuracy(axes: Axes, series: Series, look: tuple[str, str, str], place: Transform) -> None:
    known = [(x, point.pooled.held_out_accuracy) for x, point in series.points]
    measured = [(x, accuracy) for x, accuracy in known if accuracy is not None]
    if measured:
        _make_room(axes, [(x, value) for x, accuracy in measured for value in (accuracy.low, accuracy.high)])
        axes.errorbar(
            [x for x, _ in measured],
            [accuracy.mean for _, accuracy in measured],
            yerr=[[a.mean - a.low for _, a in measured], [a.high - a.mean for _, a in measured]],
            color=look[0], linestyle=look[1] if series.is_line else "none", marker=look[2], markersize=4, linewidth=1.2,
            capsize=2, transform=place,
        )  # fmt: skip


def _scale(axes: Axes, axis: Axis) -> None:
    """Logarithmic where the values span much, with 0 on it; ticks at the values themselves."""
    values = axis.values
    positive = [value for value in values if value > 0]
    if positive and min(values) >= 0 and max(positive) / min(positive) >= _WIDE_RATIO:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.6)
        if min(values) == 0:
            axes.set_xlim(left=-0.3 * min(positive))
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if len(values) > 5:
        axes.tick_params(axis="x", labelrotation=45)


def _share_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(0, 1.02)
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True, axis="y", linewidth=0.6)


def legend(figure: Figure, axes: Axes, n_columns: int = 2) -> None:
    """Above the axes, where there is more than one thing to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=n_columns if max(map(len, labels)) < 26 else 1,
                      frameon=False, handlelength=3.2, borderpad=0)  # fmt: skip


def _named_points(name: str, title: str, points: Sequence[PointRecord]) -> Chart:
    """Points without an order: a line each."""
    places = range(len(points))
    with drawing(1.1 + 0.36 * len(points)) as (figure, (axes,)):
        shares = [
            (place, share) for place, point in zip(places, points, strict=True) if (share := point.pooled.rebuilt)
        ]
        axes.errorbar(
            [share.share for _, share in shares],
            [place for place, _ in shares],
            xerr=[[share.share - share.low for _, share in shares], [share.high - share.share for _, share in shares]],
            color=MEMBER, linestyle="none", marker="o", markersize=6, capsize=3, label="rebuilt", clip_on=False,
        )  # fmt: skip
        for place, share in shares:
            axes.plot(share.by_seed, [place] * len(share.by_seed), "o", color=MEMBER, markerfacecolor="none",
                      markersize=3.5, markeredgewidth=0.8, linestyle="none", clip_on=False)  # fmt: skip
        accuracies = [
            (accuracy.mean, place)
            for place, point in zip(places, points, strict=True)
            if (accuracy := point.pooled.held_out_accuracy)
        ]
        if accuracies:
            axes.plot(*zip(*accuracies, strict=True), "D", color=CONTROL, markerfacecolor="none", markersize=6,
                      linestyle="none", label="held-out accuracy", clip_on=False)  # fmt: skip
        axes.set_yticks(list(places), [one_line(point.label, 26) for point in points])
        axes.set_ylim(len(points) - 0.5, -0.5)
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("share of images")
        axes.grid(True, axis="x", linewidth=0.6)
        legend(figure, axes)
        svg = to_svg(figure, name)
    return Chart(
        name,
        title,
        "Filled: share of the training images that were rebuilt at the calibrated threshold, all seeds together, with "
        "Clopper–Pearson 95 % intervals; small open circles are single seeds. Diamond: accuracy on images held out.",
        f"{title}: " + "; ".join(f"{one_line(point.label, 80)} {_told(point.pooled)}" for point in points) + ".",
        svg,
        ("point", *_COLUMNS),
        tuple(_numbers(point, one_line(point.label, 80)) for point in points),
    )


_COLUMNS = ("seeds", "rebuilt", "95 % interval", "by seed", "SSIM above 0.4", "controls rebuilt", "held-out accuracy")


def _numbers(point: PointRecord, place: str) -> tuple[str, ...]:
    one = point.pooled
    return (
        place if not point.named or place == point.label else f"{place} ({one_line(point.label, 60)})",
        ", ".join(map(str, one.seeds)) or "none",
        counts_words(one.rebuilt),
        interval_words(one.rebuilt),
        "–" if one.rebuilt is None else ", ".join(words.percent(share) for share in one.rebuilt.by_seed),
        counts_words(one.published),
        counts_words(one.rebuilt_controls),
        range_words(one.held_out_accuracy),
    )
