"""Scores and membership distances to the `Evidence` of a result: counts, thresholds, intervals, records.

In: match and membership tables. Out: schema objects. Must not know how anything was scored.
"""

import hashlib
import os
import secrets

import numpy as np
from scipy.stats import rankdata

from privaudit.attack_types import Snapshot
from privaudit.data import ImageSet
from privaudit.matching import MatchTable, best_scores
from privaudit.membership import MembershipTable
from privaudit.membership import OperatingPoint as MeasuredPoint
from privaudit.membership.exposure import Exposure as Solved
from privaudit.result import (
    BudgetPoint,
    CalibratedThreshold,
    Distributions,
    Evidence,
    EvidenceRecord,
    Exposure,
    Membership,
    MembershipPart,
    OperatingPoint,
    PublishedThreshold,
)
from privaudit.ssim import FROZEN, PUBLISHED_THRESHOLD
from privaudit.statistics import (
    counts_interval,
    exchangeability_p_value,
    lower_bound_beyond_chance,
    quantile_threshold,
)

_CURVE_POINTS = 8  # snapshots scored for the leaks-against-budget curve
_SCORES_LISTED = 2000  # of each kind in result.json; evenly spaced quantiles beyond


def calibrated(table: MatchTable, fpr: float) -> CalibratedThreshold:
    """The larger of the control and the placebo quantile, and what exceeds it."""
    members = table.members.ssim
    n = len(members)
    if table.controls is None:
        return _uncalibrated(fpr, n, "Without controls no false-positive rate can be given.")
    if (table.members.reconstruction < 0).all():
        return _uncalibrated(fpr, n, "Nothing was reconstructed, so there is nothing to calibrate.")
    control = quantile_threshold(table.controls.ssim, fpr)
    if control.value is None:
        return _uncalibrated(fpr, n, control.reason)
    placebo = None if table.placebo_ssim is None else quantile_threshold(table.placebo_ssim.ravel(), fpr)
    # Fewer placebo scores than the rate asks for (only with a handful of members): the largest score stands in.
    placebo_value = None
    if placebo is not None and table.placebo_ssim is not None:
        placebo_value = float(table.placebo_ssim.max()) if placebo.value is None else placebo.value
    threshold = control.value if placebo_value is None else max(control.value, placebo_value)
    found, false = int((members > threshold).sum()), int((table.controls.ssim > threshold).sum())
    return CalibratedThreshold(
        ssim=threshold,
        fpr=fpr,
        members_leaked=found,
        controls_leaked=false,
        interval_low=lower_bound_beyond_chance(found, n, fpr),
        interval_high=counts_interval(found, n).high,
        p_value=exchangeability_p_value(found, n, false, len(table.controls.ssim)),
        control_quantile=control.value,
        placebo_quantile=placebo_value,
        reason="",
    )


def _uncalibrated(fpr: float, n_members: int, reason: str) -> CalibratedThreshold:
    return CalibratedThreshold(
        ssim=None,
        fpr=fpr,
        members_leaked=0,
        controls_leaked=0,
        interval_low=0.0,
        interval_high=float(n_members),
        p_value=None,
        control_quantile=None,
        placebo_quantile=None,
        reason=reason,
    )


def published(table: MatchTable) -> PublishedThreshold:
    """Counts at the literature's SSIM > 0.4."""
    placebo = table.placebo_ssim
    return PublishedThreshold(
        ssim=PUBLISHED_THRESHOLD,
        members_leaked=int((table.members.ssim > PUBLISHED_THRESHOLD).sum()),
        controls_leaked=0 if table.controls is None else int((table.controls.ssim > PUBLISHED_THRESHOLD).sum()),
        placebo_leaked=None if placebo is None else float((placebo > PUBLISHED_THRESHOLD).sum(1).mean()),
    )


def membership_of(table: MembershipTable) -> Membership:
    """The schema's view of the membership test."""
    return Membership(
        method=table.method,
        applicable=table.applicable,
        reason=table.reason,
        fpr=table.fpr,
        threshold=table.threshold,
        members_found=table.members_found,
        controls_found=table.controls_found,
        interval_low=table.interval_low,
        interval_high=table.interval_high,
        p_value=table.p_value,
        auc=table.auc,
        parts=tuple(
            MembershipPart(name=part.name, auc=part.auc, operating_points=_points(part.operating_points))
            for part in table.parts
        ),
        operating_points=_points(table.operating_points),
        exposure=_exposure(table.exposure),
    )


def _exposure(found: Solved | str) -> Exposure:
    if isinstance(found, str):
        return Exposure(
            applicable=False,
            reason=found,
            explained=None,
            explained_by_members=None,
            explained_by_controls=None,
            iterations=0,
        )
    return Exposure(
        applicable=True,
        reason=found.reason,
        explained=found.explained,
        explained_by_members=found.explained_by_members,
        explained_by_controls=found.explained_by_controls,
        iterations=found.iterations,
    )


def _points(points: tuple[MeasuredPoint, ...]) -> tuple[OperatingPoint, ...]:
    return tuple(OperatingPoint(**vars(point)) for point in points)


def evidence_of(
    reference: ImageSet,
    n_controls: int,
    table: MatchTable,
    membership: MembershipTable,
    *,
    fpr: float,
    reveal: bool,
    duplicates: tuple[str, ...],
) -> Evidence:
    """Everything that compares members with controls."""
    threshold = calibrated(table, fpr)
    salt = None if reveal else _salt()
    return Evidence(
        members=len(reference),
        controls=n_controls,
        published_threshold=published(table),
        calibrated_threshold=threshold,
        membership=membership_of(membership),
        records=_records(reference, table, membership, threshold.ssim, salt),
        distributions=Distributions(
            control_ssim=_listed(None if table.controls is None else table.controls.ssim),
            placebo_ssim=_listed(table.placebo_ssim),
            membership_control=_listed(membership.control_distance),
            multiplier_control=_listed(None if isinstance(membership.exposure, str) else membership.exposure.controls),
        ),
        ssim_definition=FROZEN.describe(),
        excluded_duplicates=tuple(_identifier(name, salt) for name in duplicates),
        warnings=_warnings(table, n_controls, fpr),
    )


def _records(
    reference: ImageSet, table: MatchTable, membership: MembershipTable, threshold: float | None, salt: str | None
) -> tuple[EvidenceRecord, ...]:
    distance = membership.member_distance
    multipliers, ranks = _multipliers(membership)
    return tuple(
        EvidenceRecord(
            id=_identifier(name, salt),
            label=None if reference.labels is None else int(reference.labels[i]),
            ssim=round(float(table.members.ssim[i]), 4),
            ncc=round(float(table.members.ncc[i]), 4),
            reconstruction=int(table.members.reconstruction[i]),
            leaked=threshold is not None and bool(table.members.ssim[i] > threshold),
            membership_score=None if distance is None else float(distance[i]),
            membership_found=membership.threshold is not None
            and distance is not None
            and bool(distance[i] < membership.threshold),
            multiplier=None if multipliers is None else round(float(multipliers[i]), 6),
            exposure_rank=None if ranks is None else int(ranks[i]),
        )
        for i, name in enumerate(reference.names)
    )


def _multipliers(table: MembershipTable) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Multipliers of the reference and their places among those of all images, 1 the largest."""
    if isinstance(table.exposure, str):
        return None, None
    every = np.concatenate([table.exposure.members, table.exposure.controls])
    return table.exposure.members, rankdata(-every, method="min")[: len(table.exposure.members)]


def _salt() -> str:
    """From PRIVAUDIT_SALT, so that two scans can be compared record by record, else new for every scan."""
    return os.environ.get("PRIVAUDIT_SALT") or secrets.token_hex(16)


def _identifier(name: str, salt: str | None) -> str:
    """The name itself without a salt (`--reveal`)."""
    if salt is None:
        return name
    return hashlib.sha256(f"{salt}\0{name}".encode()).hexdigest()[:16]


def _listed(scores: np.ndarray | None) -> tuple[float, ...]:
    """Sorted scores rounded to four digits; evenly spaced quantiles when there are very many."""
    if scores is None:
        return ()
    ordered = np.sort(scores.ravel())
    if len(ordered) > _SCORES_LISTED:
        ordered = np.quantile(ordered, np.linspace(0, 1, _SCORES_LISTED))
    return tuple(round(float(score), 4) for score in ordered)


def _warnings(table: MatchTable, n_controls: int, fpr: float) -> tuple[str, ...]:
    warnings = []
    if n_controls and n_controls * fpr < 1:
        warnings.append(
            f"{n_controls} controls cannot support a false-positive rate of {fpr:g}; {round(1 / fpr)} would do."
        )
    if table.controls is not None and (chance := int((table.controls.ssim > PUBLISHED_THRESHOLD).sum())):
        warnings.append(
            f"{chance} images the network never saw exceed the published SSIM {PUBLISHED_THRESHOLD:g}: "
            "a fixed threshold means little on these data."
        )
    return tuple(warnings)


def budget_curve(
    history: tuple[Snapshot, ...], reference: ImageSet, threshold: float | None
) -> tuple[BudgetPoint, ...]:
    """Leaked records against seconds of attack, at the final thresholds; the last snapshot is always scored."""
    if len(history) > _CURVE_POINTS:
        chosen = np.unique(np.linspace(0, len(history) - 1, _CURVE_POINTS).round().astype(int))
        history = tuple(history[i] for i in chosen)
    points = []
    for snapshot in history:
        ssim = best_scores(reference.pixels, snapshot.pixels).ssim
        points.append(
            BudgetPoint(
                seconds=round(snapshot.seconds, 2),
                reconstructions=len(snapshot.pixels),
                members_published=int((ssim > PUBLISHED_THRESHOLD).sum()),
                members_calibrated=0 if threshold is None else int((ssim > threshold).sum()),
            )
        )
    return tuple(points)
