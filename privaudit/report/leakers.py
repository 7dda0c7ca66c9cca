"""Who leaks: similarity against multipliers, and counts by class.

In: `Evidence` of a result, rows of classes. Out: `Chart`s. Must not know pictures or markup.
"""

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from privaudit.report import words
from privaudit.report.chart import CONTROL, GRID, INK, MEMBER, MUTED, PLACEBO, Chart, drawing, to_svg
from privaudit.report.sections import ClassRow
from privaudit.result import Evidence, EvidenceRecord

LEAKERS_TITLE = "Who leaks: similarity against multiplier"
CLASSES_TITLE = "Counts by class"

_NEAR_ZERO = 0.5
"""SSIM below which the axis starts at 0; where all are closer, differences are what is looked at."""

MOST_CLASSES = 30
"""Rows that a bar chart can show on one screen."""


def leakers_chart(evidence: Evidence) -> Chart:
    """Best SSIM of each training image against its multiplier; rebuilt or not by the shape of the mark."""
    shown = [(r, r.multiplier) for r in evidence.records if r.multiplier is not None]
    exposure = evidence.membership.exposure
    if exposure is not None and not exposure.applicable:
        return Chart("leakers", LEAKERS_TITLE, absent=words.plain(exposure.reason, 600), absent_kind="not_applicable")
    if not shown:
        return Chart("leakers", LEAKERS_TITLE, absent="This result has no multipliers of training images.")
    threshold = evidence.calibrated_threshold.ssim
    with drawing(2.9) as (figure, (axes,)):
        for is_leaked, marker, colour, name in ((True, "^", MEMBER, "rebuilt"), (False, "o", CONTROL, "not counted")):
            points = [(m, r.ssim) for r, m in shown if r.leaked == is_leaked]
            if points:
                face = colour if is_leaked else "none"
                axes.plot(*zip(*points, strict=True), marker, color=colour, markerfacecolor=face, markersize=4.5,
                          linestyle="none", label=f"{name} ({len(points):,})")  # fmt: skip
        if threshold is not None:
            axes.axhline(threshold, color=INK, linewidth=1.2, label="calibrated")
        lowest = min(r.ssim for r, _ in shown)
        axes.set_ylim(min(0.0, lowest) if lowest < _NEAR_ZERO else lowest - 0.05, 1.02)
        axes.set_xlabel("multiplier")
        axes.set_ylabel("best SSIM")
        axes.grid(True, linewidth=0.6)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, handlelength=1.4, borderpad=0)
        svg = to_svg(figure, "leakers")
    return Chart(
        "leakers",
        LEAKERS_TITLE,
        "Each mark is a training image. Right: its gradient makes up more of the weights, as for images at the margin "
        "or hard to fit. Up: its reconstruction is closer. An image far right and low is in the weights and was not "
        f"rebuilt by this attack.{_set_aside(evidence)}",
        _leakers_alt(shown),
        svg,
        ("multiplier", "best SSIM", "rebuilt"),
        tuple((f"{m:.4g}", f"{r.ssim:.3f}", _yes(r.leaked, threshold)) for r, m in sorted(shown, key=lambda s: -s[1])),
    )


def _set_aside(evidence: Evidence) -> str:
    n = evidence.calibrated_threshold.members_set_aside
    if not n:
        return ""
    return f" {words.images(n, 'open mark')} above the line: set aside, because a mean image is as near."


def _yes(is_leaked: bool, threshold: float | None) -> str:
    return words.NOT_RUN if threshold is None else "yes" if is_leaked else "no"


def _leakers_alt(shown: Sequence[tuple[EvidenceRecord, float]]) -> str:
    upper = sorted(shown, key=lambda pair: -pair[1])[: max(1, len(shown) // 2)]
    in_upper, in_all = (sum(r.leaked for r, _ in part) for part in (upper, shown))
    return (
        f"Scatter plot of {len(shown):,} training images. Of the {len(upper):,} with the largest multipliers "
        f"{in_upper:,} are rebuilt, of the other {len(shown) - len(upper):,} {in_all - in_upper:,}."
    )


def classes_chart(rows: Sequence[ClassRow]) -> Chart:
    """Bars of each class: training images, of which rebuilt, and a mark for readable membership."""
    if not rows:
        return Chart("classes", CLASSES_TITLE, absent="There are no classes to compare.", absent_kind="not_applicable")
    if len(rows) > MOST_CLASSES:
        return Chart("classes", CLASSES_TITLE, absent=f"{len(rows):,} classes are too many to draw; the table has all.")
    places = range(len(rows))
    with drawing(0.9 + 0.22 * len(rows)) as (figure, (axes,)):
        axes.barh(places, [row.total for row in rows], 0.72, color=GRID, edgecolor=MUTED, linewidth=0.6,
                  label="training images")  # fmt: skip
        axes.barh(places, [row.rebuilt for row in rows], 0.4, color=MEMBER, hatch="////", edgecolor=INK, linewidth=0.5,
                  label="rebuilt")  # fmt: skip
        readable = [(row.readable, place) for place, row in enumerate(rows) if row.readable is not None]
        if readable:
            axes.plot(*zip(*readable, strict=True), "D", color=PLACEBO, markeredgecolor=INK, markeredgewidth=0.6,
                      markersize=5, linestyle="none", label="membership readable", clip_on=False)  # fmt: skip
        axes.set_yticks(list(places), [str(row.label) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("images")
        axes.set_ylabel("class")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, handlelength=1.4,
                    columnspacing=1.0, borderpad=0)  # fmt: skip
        svg = to_svg(figure, "classes")
    most = max(rows, key=lambda row: row.rebuilt / row.total)
    return Chart(
        "classes",
        CLASSES_TITLE,
        "Pale: training images of the class. Hatched: rebuilt. Diamond: membership readable.",
        f"Bars of {len(rows)} classes. The largest share is rebuilt of class {most.label}: "
        f"{words.of(most.rebuilt, most.total)}.",
        svg,
        ("class", "training images", "rebuilt", "membership readable"),
        tuple(
            (
                str(row.label),
                str(row.total),
                str(row.rebuilt),
                words.NOT_APPLICABLE if row.readable is None else str(row.readable),
            )
            for row in rows
        ),
    )
