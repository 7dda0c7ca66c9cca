"""The receiver operating characteristic of both findings, and of multipliers by themselves.

In: `Evidence` of a result. Out: a `Chart`. Must not know pictures or markup.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from privaudit.report import words
from privaudit.report.chart import CONTROL, MEMBER, MUTED, PLACEBO, Chart, drawing, to_svg
from privaudit.result import Evidence
from privaudit.statistics import detection_curve

ROC_TITLE = "Share found at a given false-positive rate"

SMALLEST_RATE = 1e-3
"""Left end of the axis where there are too few controls to resolve less."""

MAX_TABLE_POINTS = 40

Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]


def roc_chart(evidence: Evidence) -> Chart:
    """True-positive against false-positive rate on a log axis, for both findings and for multipliers by themselves."""
    scores = evidence.distributions
    drawn = _curves(evidence)
    if not drawn:
        return Chart("roc", ROC_TITLE, absent="A false-positive rate needs controls, and there are none.")
    n_controls = max(len(scores.control_ssim), len(scores.membership_control))
    fpr = evidence.calibrated_threshold.fpr
    is_resolved = n_controls * fpr >= 1
    left = min(SMALLEST_RATE, 0.5 / n_controls)
    with drawing(2.7) as (figure, (axes,)):
        _draw(axes, drawn, left, fpr if is_resolved else None)
        chance = np.geomspace(left, 1, 50)
        axes.plot(chance, chance, ":", color=MUTED, linewidth=1.2, label="guessing")
        axes.set(xscale="log", xlim=(left, 1), ylim=(0, 1.03))
        axes.set_xlabel("false-positive rate (log axis)")
        axes.set_ylabel("share of training images found")
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.rate(value)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.percent(value)))
        axes.grid(True, axis="both", linewidth=0.6)
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1), ncols=4, frameon=False, handlelength=2.2,
                    columnspacing=0.9, handletextpad=0.4, borderpad=0, fontsize=8.5)  # fmt: skip
        svg = to_svg(figure, "roc")
    marks = f"The marks sit at the stated rate of {words.rate(fpr)}; a" if is_resolved else "A"
    at_fpr = [f"{name} {words.percent(_rate_at(c[0], c[1], fpr))}" for name, c in drawn.items()]
    rows = [(n, words.rate(f), words.percent(t, 1)) for n, c in drawn.items() for f, t in _thinned(c[0], c[1])]
    return Chart(
        "roc",
        ROC_TITLE,
        f"Up and left is worse for privacy. {marks} rate below one control in {n_controls:,} cannot be resolved. The "
        "curves compare with controls only; the placebo is not part of them. Exposure: multipliers alone, which are "
        "one part of membership.",
        f"Receiver operating characteristic. Found at {words.rate(fpr)} false positives: {', '.join(at_fpr)}.",
        svg,
        ("finding", "false-positive rate", "share found"),
        tuple(rows),
    )


def _curves(evidence: Evidence) -> dict[str, Curve]:
    """Operating points of whatever has controls."""
    scores, records = evidence.distributions, evidence.records
    distances = [-r.membership_score for r in records if r.membership_score is not None]
    multipliers = [r.multiplier for r in records if r.multiplier is not None]
    curves = {
        "rebuilt": detection_curve([r.ssim for r in records], scores.control_ssim),
        "membership": detection_curve(distances, [-d for d in scores.membership_control]),
        "exposure": detection_curve(multipliers, scores.multiplier_control),
    }
    return {name: curve for name, curve in curves.items() if curve[0]}


def _draw(axes: Axes, drawn: Mapping[str, Curve], left: float, fpr: float | None) -> None:
    """One stepped line each, with a mark at the stated rate where controls resolve it."""
    styles = {"rebuilt": ("-", "o", MEMBER), "membership": ("--", "s", CONTROL), "exposure": ("-.", "^", PLACEBO)}
    for name, (false_rates, true_rates, _) in drawn.items():
        line, marker, colour = styles[name]
        x = [left, *np.maximum(false_rates, left), 1.0]
        y = [0.0, *true_rates, 1.0]
        axes.plot(x, y, line, drawstyle="steps-post", color=colour, linewidth=1.8, label=name)
        if fpr is not None:
            at = _rate_at(false_rates, true_rates, fpr)
            axes.plot([fpr], [at], marker, color=colour, markersize=6, clip_on=False)


def _rate_at(false_rates: Sequence[float], true_rates: Sequence[float], fpr: float) -> float:
    """Largest share found with at most `fpr` false positives."""
    return max((t for f, t in zip(false_rates, true_rates, strict=True) if f <= fpr), default=0.0)


def _thinned(false_rates: Sequence[float], true_rates: Sequence[float]) -> list[tuple[float, float]]:
    """The best point of each false-positive rate, at most `MAX_TABLE_POINTS` of them, the lowest rates all kept."""
    best: dict[float, float] = {}
    for false_rate, true_rate in zip(false_rates, true_rates, strict=True):
        best[false_rate] = max(true_rate, best.get(false_rate, 0.0))
    points = sorted(best.items())
    half = MAX_TABLE_POINTS // 2
    step = max(1, -(-len(points[half:]) // half))
    return points[:half] + points[half::step]
