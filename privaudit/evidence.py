"""Scores and membership distances to the `Evidence` of a result: counts, thresholds, intervals, records.

In: match and membership tables. Out: schema objects. Must not know how anything was scored.
"""

import hashlib
import os
import secrets
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from privaudit.attack_types import Snapshot
from privaudit.calibration import calibrated, cross_fit, published, record_p_values, ssim_threshold
from privaudit.data import ImageSet
from privaudit.guards import Guards, guard
from privaudit.held_images import HeldImages
from privaudit.matching import MatchTable, best_scores
from privaudit.membership import MembershipTable
from privaudit.membership.exposure import Exposure as Solved
from privaudit.result import (
    BudgetPoint,
    CalibratedThreshold,
    Decoy,
    Distributions,
    Evidence,
    EvidenceRecord,
    Exposure,
    Membership,
)
from privaudit.ssim import FROZEN, PUBLISHED_THRESHOLD
from privaudit.statistics import false_discovery_q_values

_CURVE_POINTS = 8  # snapshots scored for the leaks-against-budget curve
_SCORES_LISTED = 2000  # of each kind in result.json; evenly spaced quantiles beyond


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
        parts=table.parts,
        operating_points=table.operating_points,
        exposure=_exposure(table.exposure),
        cross_fit=None if table.cross_fit is None else cross_fit(table.cross_fit),
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


def evidence_of(
    held: HeldImages,
    table: MatchTable,
    membership: MembershipTable,
    reconstructions: Tensor,
    *,
    fpr: float,
    reveal: bool,
    seed: int = 0,
) -> Evidence:
    """Everything that compares members with controls.

    Args:
        held: training images and controls.
        table: their scores; `membership` their distances.
        reconstructions: (M, C, H, W) pixels, which decoys and line-ups are held against.
        fpr: stated false-positive rate in (0, 1).
        reveal: names instead of salted hashes.
        seed: of line-ups and of the controls' split.
    """
    guards = guard(held.reference, held.control, reconstructions, table, ssim_threshold(table, fpr), seed)
    membership = _comparable(membership, held)
    is_decoy = np.array([name is not None for name in guards.nearer_decoy])
    threshold = calibrated(table, fpr, seed, is_decoy)
    salt = None if reveal else _salt()
    n_controls = 0 if held.control is None else len(held.control)
    return Evidence(
        members=len(held.reference),
        controls=n_controls,
        published_threshold=published(table),
        calibrated_threshold=threshold,
        membership=membership_of(membership),
        records=_records(held.reference, table, membership, threshold.ssim, guards, salt),
        distributions=Distributions(
            control_ssim=_listed(None if table.controls is None else table.controls.ssim),
            placebo_ssim=_listed(table.placebo_ssim),
            membership_control=_listed(membership.control_distance),
            multiplier_control=_listed(None if isinstance(membership.exposure, str) else membership.exposure.controls),
        ),
        ssim_definition=FROZEN.describe(),
        excluded_duplicates=tuple(_identifier(name, salt) for name in held.duplicates),
        warnings=_warnings(table, n_controls, threshold, guards, held),
        decoys=_decoys(guards, threshold),
        near_duplicates=tuple(tuple(_identifier(name, salt) for name in group) for group in held.near_duplicates),
        class_match=held.class_match,
    )


def _comparable(table: MembershipTable, held: HeldImages) -> MembershipTable:
    """No threshold from controls of other classes: nothing tells what a class looks like from what was trained on."""
    if held.class_match is None or held.class_match.matched or table.threshold is None:
        return table
    return replace(
        table,
        reason=held.class_match.reason,
        threshold=None,
        members_found=0,
        controls_found=0,
        interval_low=0.0,
        interval_high=float(len(held.reference)),
        p_value=None,
        cross_fit=None,
    )


def _decoys(guards: Guards, threshold: CalibratedThreshold) -> tuple[Decoy, ...]:
    limit = np.inf if threshold.ssim is None else threshold.ssim
    return tuple(Decoy(name=name, ssim=round(ssim, 4), is_above=ssim > limit) for name, ssim in guards.decoys)


def _records(
    reference: ImageSet,
    table: MatchTable,
    membership: MembershipTable,
    threshold: float | None,
    guards: Guards,
    salt: str | None,
) -> tuple[EvidenceRecord, ...]:
    distance = membership.member_distance
    multipliers, ranks = _multipliers(membership)
    p_values = record_p_values(table)
    q_values = None if p_values is None else false_discovery_q_values(p_values)
    return tuple(
        EvidenceRecord(
            id=_identifier(name, salt),
            label=None if reference.labels is None else int(reference.labels[i]),
            ssim=float(table.members.ssim[i]),  # not rounded: whoever checks the count compares it with the threshold
            ncc=round(float(table.members.ncc[i]), 4),
            reconstruction=int(table.members.reconstruction[i]),
            leaked=threshold is not None and bool(table.members.ssim[i] > threshold) and guards.nearer_decoy[i] is None,
            membership_score=None if distance is None else float(distance[i]),
            membership_found=membership.threshold is not None
            and distance is not None
            and bool(distance[i] < membership.threshold),
            multiplier=None if multipliers is None else round(float(multipliers[i]), 6),
            exposure_rank=None if ranks is None else int(ranks[i]),
            p_value=_at(p_values, i),
            q_value=_at(q_values, i),
            lineup_rank=guards.rank[i],
            lineup_size=guards.size[i],
            nearer_decoy=guards.nearer_decoy[i],
        )
        for i, name in enumerate(reference.names)
    )


def _at(values: NDArray[np.float64] | None, i: int) -> float | None:
    return None if values is None else float(f"{values[i]:.4g}")


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


def _warnings(
    table: MatchTable, n_controls: int, threshold: CalibratedThreshold, guards: Guards, held: HeldImages
) -> tuple[str, ...]:
    warnings = []
    fpr = threshold.fpr
    if n_controls and n_controls * fpr < 1:
        warnings.append(
            f"{n_controls} controls cannot support a false-positive rate of {fpr:g}; {round(1 / fpr)} would do."
        )
    if table.controls is not None and (chance := int((table.controls.ssim > PUBLISHED_THRESHOLD).sum())):
        warnings.append(
            f"{chance} images the network never saw exceed the published SSIM {PUBLISHED_THRESHOLD:g}: "
            "a fixed threshold means little on these data."
        )
    above = [name for name, ssim in guards.decoys if threshold.ssim is not None and ssim > threshold.ssim]
    if above:
        warnings.append(
            f"The attack found images that are nobody's: {', '.join(above[:3])}"
            f"{' and others' if len(above) > 3 else ''} exceed the calibrated threshold. Records that their "
            "reconstruction resembles no more than such a mean do not count as rebuilt, nor as not rebuilt."
        )
    if held.class_match is not None and held.class_match.reason:
        warnings.append(held.class_match.reason)
    if held.not_searched:
        warnings.append(held.not_searched)
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
