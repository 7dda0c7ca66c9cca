"""The membership test: which statistics apply, their combination, its threshold and what passes it (METHOD 3b)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from privaudit.membership.combination import LEAST_CONTROLS, Part, combined_distance
from privaudit.membership.exposure import Exposure
from privaudit.membership.parts import kink_excess, log_nearness, span_distance, whitened_distance
from privaudit.result_evidence import MembershipPart, OperatingPoint
from privaudit.spans import TELLING_WIDTH, Cut, LinearSite
from privaudit.statistics import (
    CrossFitted,
    auc,
    counts_interval,
    cross_fitted,
    halves,
    lower_bound_beyond_chance,
    precedence_p_value,
    quantile_threshold,
)

RATES = (0.01, 0.001)
"""False-positive rates of the operating points: those that the literature states (Carlini et al. 2022)."""


@dataclass(frozen=True)
class MembershipTable:
    """The test and its outcome; field meanings as in `privaudit.result.Membership`.

    Attributes:
        member_distance: (N,) in (0, 1], lower is more member-like; None where the test does not apply.
        control_distance: the same for controls.
        exposure: multipliers of members and controls, or why they were not solved for.
        cross_fit: controls judged by the threshold of the half they are not in; None where there is no threshold.
    """

    method: str
    applicable: bool
    reason: str
    fpr: float
    threshold: float | None
    members_found: int
    controls_found: int
    interval_low: float
    interval_high: float
    p_value: float | None
    auc: float | None
    member_distance: NDArray[np.float64] | None
    control_distance: NDArray[np.float64] | None
    parts: tuple[MembershipPart, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()
    exposure: Exposure | str = ""
    cross_fit: CrossFitted | None = None


def applicability(site: LinearSite | None, cut: Cut | None, has_kinks: bool = False, has_further: bool = False) -> str:
    """Why the test does not apply, or an empty string.

    Args:
        site: the first linear layer.
        cut: its spectrum; None where it was too large to be computed.
        has_kinks: whether a linear layer is followed by a ReLU, whose kinks need no low rank.
        has_further: whether something was read that needs no linear layer, such as multipliers.
    """
    is_blank = cut is not None and site is not None and cut.rule == "none"
    if is_blank and site is not None and (site.sees_inputs or min(site.weight.shape) >= TELLING_WIDTH):
        return f"No direction of layer {site.name} stands above the spectrum of a random matrix: nothing to read there."
    if has_kinks or has_further:
        return ""
    if site is None or cut is None:
        return "The network has no linear layer whose row space could be read."
    if not _has_outside(site, cut):
        return f"All {cut.rank} directions of layer {site.name} carry signal, so every image lies in its row space."
    return ""


def _has_outside(site: LinearSite, cut: Cut) -> bool:
    return cut.rank < site.weight.shape[1]


def membership_test(
    site: LinearSite | None,
    cut: Cut | None,
    rectified: tuple[LinearSite, ...],
    members: Tensor,
    controls: Tensor | None,
    fpr: float,
    further: tuple[Part, ...] = (),
    solved: Exposure | str = "",
) -> MembershipTable:
    """Count the members whose distance is smaller than that of every control.

    That threshold is the strictest that controls support: a fresh control passes it with probability 1 / (n + 1), which
    has to be at most `fpr`. The distance combines what every layer says on a scale set by controls alone; of members
    nothing is used but their own scores.

    Args:
        site: the first linear layer.
        cut: its spectrum.
        rectified: linear layers that a ReLU follows.
        members: (N, C, H, W) network inputs.
        controls: the same, or None: then distances are given and no threshold.
        fpr: false-positive rate in (0, 1).
        further: parts that were read elsewhere, of the same images in the same order.
        solved: the exposure among them, or why there is none.
    """
    reason = applicability(site, cut, bool(rectified), bool(further))
    if reason:
        table = _without("membership from the weights", False, reason, fpr, 0, None, ())
        return replace(table, exposure=solved)
    parts = (*membership_parts(site, cut, rectified, members, controls), *further)
    return replace(_tested(site, cut, parts, len(members), fpr), exposure=solved)


def _tested(
    site: LinearSite | None, cut: Cut | None, parts: tuple[Part, ...], n_members: int, fpr: float
) -> MembershipTable:
    """The table for parts that apply."""
    controls = parts[0].controls
    names = ", ".join(part.name for part in parts)
    if controls is None:
        why = "Without controls no false-positive rate can be given."
        distance = _plain(parts[0].members)
        return _without(f"membership from the weights: {parts[0].name}", True, why, fpr, n_members, distance, parts)
    if len(parts) == 1 or len(controls) < LEAST_CONTROLS:
        method = f"membership from the weights: {parts[0].name}"
        distances = _plain(parts[0].members), _plain(_controls(parts[0]))
    else:
        method = f"membership from the weights, combined on the scale of the controls: {names}"
        distances = combined_distance(parts)
    return judged(method, _explained(site, cut, parts), parts, *distances, fpr)


def membership_parts(
    site: LinearSite | None,
    cut: Cut | None,
    rectified: tuple[LinearSite, ...],
    members: Tensor,
    controls: Tensor | None,
) -> tuple[Part, ...]:
    """Scores of what applies: row spaces of the first layer where something lies outside, then kinks."""
    statistics: list[tuple[str, Callable[[Tensor], NDArray[np.float64]]]] = []
    if site is not None and cut is not None and cut.rule != "none" and _has_outside(site, cut):
        statistics.append((f"row space of {site.name}", partial(_inside, site, cut.rank)))
        if site.sees_inputs:
            statistics.append((f"whitened row space of {site.name}", partial(_inside_whitened, site)))
    statistics += [(f"kinks of {behind.name}", partial(kink_excess, behind)) for behind in rectified]
    return tuple(
        Part(name, score(members), None if controls is None else score(controls)) for name, score in statistics
    )


def _inside(site: LinearSite, rank: int, inputs: Tensor) -> NDArray[np.float64]:
    return log_nearness(span_distance(site, rank, inputs))


def _inside_whitened(site: LinearSite, inputs: Tensor) -> NDArray[np.float64]:
    return log_nearness(whitened_distance(site, inputs))


def _controls(part: Part) -> NDArray[np.float64]:
    assert part.controls is not None
    return part.controls


def _plain(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undoes `log_nearness`: the share outside a span. A kink's excess is clipped to the same range."""
    distance: NDArray[np.float64] = np.exp(-np.clip(score, 0, 690))
    return distance


def _explained(site: LinearSite | None, cut: Cut | None, parts: tuple[Part, ...]) -> str:
    """What the parts rest on."""
    if site is None or cut is None or cut.rule == "none":
        return "No row space was read; kinks and multipliers need none. Members nearer than every control count."
    if not _has_outside(site, cut):
        return (
            f"All {cut.rank} directions of layer {site.name} carry signal, so every image lies in its row space and "
            "only kinks and multipliers are read. Members nearer than every control count."
        )
    return f"First {cut.rank} of {len(cut.singular_values)} directions; members nearer than every control count."


def operating_points(members: NDArray[np.float64], controls: NDArray[np.float64]) -> tuple[OperatingPoint, ...]:
    """Members found at the rates of `RATES`, refused where controls cannot support one.

    Args:
        members: (N,) scores, higher is more member-like.
        controls: (n,) the same.
    """
    points = []
    for rate in RATES:
        threshold = quantile_threshold(controls, rate)
        if threshold.value is None or not len(members):
            reason = threshold.reason or "There are no members."
            nothing = dict.fromkeys(("members_found", "tpr", "interval_low", "interval_high"))
            points.append(OperatingPoint(fpr=rate, **nothing, reason=reason))
            continue
        found = int((members > threshold.value).sum())
        interval = counts_interval(found, len(members))
        points.append(
            OperatingPoint(
                fpr=rate,
                members_found=found,
                tpr=found / len(members),
                interval_low=interval.low,
                interval_high=interval.high,
                reason="",
            )
        )
    return tuple(points)


def _summaries(parts: tuple[Part, ...]) -> tuple[MembershipPart, ...]:
    return tuple(
        MembershipPart(
            name=part.name,
            auc=auc(-part.members, -part.controls),
            operating_points=operating_points(part.members, part.controls),
        )
        for part in parts
        if part.controls is not None
    )


def _without(
    method: str,
    applicable: bool,
    reason: str,
    fpr: float,
    high: int,
    distance: NDArray[np.float64] | None,
    parts: tuple[Part, ...],
) -> MembershipTable:
    """No threshold, and no controls."""
    summaries = tuple(MembershipPart(name=part.name, auc=None, operating_points=()) for part in parts)
    return MembershipTable(
        method, applicable, reason, fpr, None, 0, 0, 0.0, float(high), None, None, distance, None, summaries
    )


def judged(
    method: str,
    why: str,
    parts: tuple[Part, ...],
    distance: NDArray[np.float64],
    control: NDArray[np.float64],
    fpr: float,
) -> MembershipTable:
    """Count the members nearer than every control.

    Args:
        method: what was read; `why` what it rests on; `parts` each by itself.
        distance: (N,) of members, lower is more member-like; `control` (n,) of controls.
        fpr: rate that the controls have to support.
    """
    strictest = 1 / (len(control) + 1)
    threshold = float(control.min()) if strictest <= fpr else None
    if threshold is None:
        why = f"{len(control)} controls cannot support a false-positive rate of {fpr:g}; {round(1 / fpr)} would do."
    found = 0 if threshold is None else int((distance < threshold).sum())
    false = 0 if threshold is None else int((control < threshold).sum())
    interval = counts_interval(found, len(distance))
    return MembershipTable(
        method,
        True,
        why,
        fpr if threshold is None else strictest,
        threshold,
        found,
        false,
        0.0 if threshold is None else lower_bound_beyond_chance(found, len(distance), strictest),
        float(len(distance)) if threshold is None else interval.high,
        None if threshold is None else precedence_p_value(found, len(distance), 1, len(control)),
        auc(distance, control),
        distance,
        control,
        _summaries(parts),
        operating_points(-distance, -control),
        cross_fit=None if threshold is None else cross_fitted(-control, strictest, halves(len(control), 0)),
    )
