"""The report's charts: who is found, at what price, and how the weights give it away.

In: an `AuditResult`. Out: `Chart`s, each with alt text and the table of what is drawn, or a sentence why it is absent.
Must not know pictures or markup. Groups differ by row, line style and marker, never by colour alone.
"""

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from privaudit.report import words
from privaudit.report.chart import CONTROL, GRID, INK, MEMBER, PLACEBO, Chart, drawing, to_svg
from privaudit.report.histogram import N_BINS, Group, histogram_rows, histograms, medians
from privaudit.report.leakers import LEAKERS_TITLE, leakers_chart
from privaudit.report.roc import ROC_TITLE, roc_chart
from privaudit.result import AuditResult, Evidence, SpectrumCut


def charts(result: AuditResult) -> tuple[Chart, ...]:
    """All charts in the order of the report."""
    evidence = result.evidence
    if evidence is None:
        reason = "No reference images were given, so there are no scores to draw."
        absent = tuple(Chart(name, title, absent=reason) for name, title in TITLES.items())
    else:
        absent = (
            ssim_chart(evidence),
            roc_chart(evidence),
            distance_chart(evidence),
            multiplier_chart(evidence),
            leakers_chart(evidence),
            budget_chart(result),
        )
    spectra = tuple(spectrum_chart(cut, f"spectrum{i}", i == 0) for i, cut in enumerate(result.preflight.spectra))
    return absent + (spectra or (Chart("spectrum", SPECTRUM_TITLE, absent="No linear layer's spectrum was measured."),))


SSIM_TITLE = "How closely the best reconstruction resembles each image"
DISTANCE_TITLE = "Membership distance of training images and controls"
MULTIPLIER_TITLE = "Multipliers of training images and controls"
BUDGET_TITLE = "Records found against time spent"
SPECTRUM_TITLE = "Singular values of a linear layer"
TITLES = {
    "ssim": SSIM_TITLE,
    "roc": ROC_TITLE,
    "distance": DISTANCE_TITLE,
    "multiplier": MULTIPLIER_TITLE,
    "leakers": LEAKERS_TITLE,
    "budget": BUDGET_TITLE,
}


def ssim_chart(evidence: Evidence) -> Chart:
    """Histograms of the best SSIM: members, controls, placebo, with both thresholds."""
    scores = evidence.distributions
    groups: list[Group] = [
        ("training images", np.array([r.ssim for r in evidence.records]), MEMBER),
        ("controls", np.array(scores.control_ssim), CONTROL),
        ("placebo", np.array(scores.placebo_ssim), PLACEBO),
    ]
    if not len(groups[0][1]):
        return Chart("ssim", SSIM_TITLE, absent="The reference holds no images.")
    everything = np.concatenate([g[1] for g in groups])
    edges = np.linspace(min(0.0, float(everything.min())), 1.0, N_BINS + 1)
    lines = [(evidence.published_threshold.ssim, "published", ":")]
    if evidence.calibrated_threshold.ssim is not None:
        lines.append((evidence.calibrated_threshold.ssim, "calibrated", "-"))
    svg = histograms("ssim", groups, edges, lines, "best SSIM (1 = identical)", is_log=False)
    said = "; ".join(f"{name} {value:.2f}" for value, name, _ in lines)
    return Chart(
        "ssim",
        SSIM_TITLE,
        "Each row counts images by their best structural similarity to any reconstruction. Bars of training images "
        "to the "
        "right of the calibrated line are the rebuilt ones. The placebo compares training images with unoptimised "
        "draws "
        "from the same search space; what it reaches is no evidence of a rebuilt image.",
        f"Histograms of best SSIM. {medians(groups)} Thresholds: {said}.",
        svg,
        ("SSIM", *(g[0] for g in groups)),
        histogram_rows(groups, edges, "{:.2f}"),
    )


def distance_chart(evidence: Evidence) -> Chart:
    """Histograms of the membership distance on a log axis."""
    membership = evidence.membership
    members = np.array([r.membership_score for r in evidence.records if r.membership_score is not None])
    controls = np.array(evidence.distributions.membership_control)
    if not membership.applicable:
        return Chart(
            "distance", DISTANCE_TITLE, absent=words.plain(membership.reason, 600), absent_kind="not_applicable"
        )
    if not len(members) or not len(controls):
        return Chart("distance", DISTANCE_TITLE, absent="There are no distances of both groups.")
    groups: list[Group] = [("training images", members, MEMBER), ("controls", controls, CONTROL)]
    positive = np.concatenate([members[members > 0], controls[controls > 0], [1e-6] * (not (members > 0).any())])
    low, high = float(positive.min()), max(1.0, float(positive.max()))
    edges = np.geomspace(low / 1.2, high, N_BINS + 1)
    groups = [(name, np.clip(values, edges[0], edges[-1]), colour) for name, values, colour in groups]
    lines = [] if membership.threshold is None else [(membership.threshold, "threshold", "-")]
    svg = histograms("distance", groups, edges, lines, "membership distance (log axis)", is_log=True)
    threshold = (
        "No threshold." if membership.threshold is None else f"Threshold: {words.number(membership.threshold, 4)}."
    )
    return Chart(
        "distance",
        DISTANCE_TITLE,
        "How unlike a training image the weights make an image look. Those to the left of the threshold are recognised "
        "as training images, without rebuilding anything.",
        f"Histograms of the membership distance. {medians(groups, 4)} {threshold}",
        svg,
        ("distance", *(g[0] for g in groups)),
        histogram_rows(groups, edges, "{:.2g}"),
    )


def multiplier_chart(evidence: Evidence) -> Chart:
    """Histograms of the multipliers of training images and controls."""
    members = np.array([r.multiplier for r in evidence.records if r.multiplier is not None])
    controls = np.array(evidence.distributions.multiplier_control)
    exposure = evidence.membership.exposure
    if exposure is None or not exposure.applicable:
        reason = "This result was written before exposure was measured." if exposure is None else exposure.reason
        return Chart("multiplier", MULTIPLIER_TITLE, absent=words.plain(reason, 600))
    if not len(members) or not len(controls):
        return Chart("multiplier", MULTIPLIER_TITLE, absent="There are no multipliers of both groups.")
    groups: list[Group] = [("training images", members, MEMBER), ("controls", controls, CONTROL)]
    both = np.concatenate([members, controls])
    edges = np.linspace(float(both.min()), float(both.max()) + 1e-9, N_BINS + 1)
    svg = histograms("multiplier", groups, edges, [], "multiplier", is_log=False)
    return Chart(
        "multiplier",
        MULTIPLIER_TITLE,
        "With how much of each image's gradient the weights are explained best when training images and controls are "
        "offered alike. Training images to the right of all controls carry the weights.",
        f"Histograms of the multipliers. {medians(groups, 4)}",
        svg,
        ("multiplier", *(g[0] for g in groups)),
        histogram_rows(groups, edges, "{:.2g}"),
    )


def budget_chart(result: AuditResult) -> Chart:
    """Leaked records over attack time at both thresholds."""
    points = sorted(result.attack.budget_curve, key=lambda p: p.seconds)
    if not points:
        return Chart("budget", BUDGET_TITLE, absent="The count over time was not recorded.")
    seconds = [0.0, *(p.seconds for p in points)]
    with drawing(2.4) as (figure, (axes,)):
        for name, style, marker, colour, counts in (
            ("above published", ":", "s", PLACEBO, [p.members_published for p in points]),
            ("above calibrated", "-", "o", MEMBER, [p.members_calibrated for p in points]),
        ):
            axes.plot(
                seconds, [0, *counts], style, color=colour, marker=marker, markersize=4, linewidth=1.6, label=name
            )
        axes.set_xlabel("seconds of attack")
        axes.set_ylabel("training images")
        axes.set_xlim(left=0)
        axes.set_ylim(0, max(1, *(p.members_published for p in points), *(p.members_calibrated for p in points)) * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(True, axis="y", linewidth=0.6)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=2, frameon=False, handlelength=2.6)
        svg = to_svg(figure, "budget")
    last = points[-1]
    return Chart(
        "budget",
        BUDGET_TITLE,
        "Where the line is still rising at its right end, a longer attack would find more.",
        f"After {words.duration(last.seconds)}: {last.members_calibrated} above the calibrated and "
        f"{last.members_published} above the published threshold.",
        svg,
        ("seconds", "reconstructions", "above calibrated", "above published"),
        tuple(
            (f"{p.seconds:.1f}", words.number(p.reconstructions), str(p.members_calibrated), str(p.members_published))
            for p in points
        ),
    )


def spectrum_chart(cut: SpectrumCut, name: str, is_first: bool = True) -> Chart:
    """Singular values on a log axis with the cut and its uncertainty."""
    title = f"{SPECTRUM_TITLE}: {words.plain(cut.layer, 40)}"
    values = np.array(cut.singular_values)
    shown = values > 0
    if not shown.any():
        return Chart(name, title, absent="The layer's singular values are all zero.")
    index = np.arange(1, len(values) + 1)
    with drawing(2.4) as (figure, (axes,)):
        axes.axvspan(cut.low + 0.5, cut.high + 0.5, color=GRID, linewidth=0)
        axes.plot(index[shown], values[shown], ".", color=MEMBER, markersize=4)
        axes.axvline(cut.rank + 0.5, color=INK, linewidth=1.2)
        axes.annotate(
            f"cut: {cut.rank}",
            (cut.rank + 0.5, 1),
            (5, 0),
            ("data", "axes fraction"),
            "offset points",
            va="top",
            color=INK,
        )
        axes.set(yscale="log", xlim=(0, min(len(values), max(3 * cut.high, 20)) + 1))
        axes.set_xlabel("direction")
        axes.set_ylabel("relative singular value")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.power_of_ten(value)))
        svg = to_svg(figure, name)
    return Chart(
        name,
        title,
        _spectrum_caption(is_first),
        f"Singular values with a cut after {cut.rank} directions (between {cut.low} and {cut.high}), rule {cut.rule}; "
        f"the value at the cut is {cut.cliff_ratio:.2g} times the next.",
        svg,
        ("direction", "relative singular value"),
        tuple((str(i), f"{v:.4g}") for i, v in zip(index, values, strict=True)),
    )


def _spectrum_caption(is_first: bool) -> str:
    meaning = (
        "so the number of directions above the cut is about the number of training images (one more where their mean "
        "was subtracted)."
        if is_first
        else "here the outputs of the layer before it, so the cut need not be at the number of training images."
    )
    return (
        f"Every row of a linear layer is a mixture of what it saw in training, {meaning} The shaded band holds the "
        "defensible cuts."
    )
