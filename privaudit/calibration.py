"""The two thresholds on SSIM, and what exceeds them among members, controls and placebo.

In: a match table. Out: schema objects. Must not know how anything was scored.
"""

import numpy as np
from numpy.typing import NDArray

from privaudit.matching import MatchTable
from privaudit.membership.table import operating_points
from privaudit.result import CalibratedThreshold, CrossFit, PublishedThreshold, StrictestThreshold
from privaudit.ssim import PUBLISHED_THRESHOLD
from privaudit.statistics import (
    TWO_LOOKS,
    CrossFitted,
    QuantileThreshold,
    auc,
    conformal_p_values,
    counts_interval,
    cross_fitted,
    exchangeability_p_value,
    halves,
    lower_bound_beyond_chance,
    precedence_p_value,
    quantile_threshold,
)


def calibrated(
    table: MatchTable, fpr: float, seed: int = 0, is_decoy: NDArray[np.bool_] | None = None
) -> CalibratedThreshold:
    """The larger of the control and the placebo quantile, and what exceeds it.

    Args:
        table: scores.
        fpr: stated false-positive rate in (0, 1).
        seed: of the controls' split into halves.
        is_decoy: (N,) members whose reconstruction shows a mean image: they count towards the upper bound and not
            towards the lower one; None: not looked at.
    """
    members = table.members.ssim
    n = len(members)
    if table.controls is None:
        return _uncalibrated(fpr, n, "Without controls no false-positive rate can be given.")
    if (table.members.reconstruction < 0).all():
        return _uncalibrated(fpr, n, "Nothing was reconstructed, so there is nothing to calibrate.")
    controls = table.controls.ssim
    control = quantile_threshold(controls, fpr)
    threshold = ssim_threshold(table, fpr)
    if control.value is None or threshold is None:
        return _uncalibrated(fpr, n, control.reason)
    placebo = _placebo_quantile(table, fpr)
    is_counted = np.ones(n, dtype=bool) if is_decoy is None else ~is_decoy
    found, aside = (int(((members > threshold) & mask).sum()) for mask in (is_counted, ~is_counted))
    false = int((controls > threshold).sum())
    judged = cross_fitted(controls, fpr, halves(len(controls), seed), -np.inf if placebo is None else placebo)
    return CalibratedThreshold(
        ssim=threshold,
        fpr=fpr,
        members_leaked=found,
        controls_leaked=false,
        interval_low=lower_bound_beyond_chance(found, n, fpr),
        interval_high=counts_interval(found + aside, n).high,
        members_set_aside=aside,
        p_value=_p_value(found, n, false, len(controls), control, is_placebo_higher=threshold > control.value),
        control_quantile=control.value,
        placebo_quantile=placebo,
        reason="",
        placebo_p_value=table.placebo_p_value,
        cross_fit=cross_fit(judged),
        auc=auc(-members, -controls),
        operating_points=operating_points(members, controls),
        strictest=_strictest(table, controls, is_counted),
    )


def ssim_threshold(table: MatchTable, fpr: float) -> float | None:
    """The larger of the control and the placebo quantile at the rate; None where nothing can be calibrated."""
    if table.controls is None or (table.members.reconstruction < 0).all():
        return None
    control, placebo = quantile_threshold(table.controls.ssim, fpr).value, _placebo_quantile(table, fpr)
    return control if control is None or placebo is None else max(control, placebo)


def _strictest(table: MatchTable, controls: NDArray[np.float64], is_counted: NDArray[np.bool_]) -> StrictestThreshold:
    nulls = [controls] if table.placebo_ssim is None else [controls, table.placebo_ssim.ravel()]
    ssim = max(float(null.max()) for null in nulls)
    fpr = max(1 / (len(null) + 1) for null in nulls)
    n, found = len(is_counted), int(((table.members.ssim > ssim) & is_counted).sum())
    return StrictestThreshold(
        ssim=ssim,
        fpr=fpr,
        members_leaked=found,
        interval_low=lower_bound_beyond_chance(found, n, fpr, TWO_LOOKS),
        p_value=precedence_p_value(found, n, 1, len(controls)),
    )


def _placebo_quantile(table: MatchTable, fpr: float) -> float | None:
    """Where the placebo has fewer scores than the rate asks for (a handful of members), its largest stands in."""
    if table.placebo_ssim is None:
        return None
    value = quantile_threshold(table.placebo_ssim.ravel(), fpr).value
    return float(table.placebo_ssim.max()) if value is None else value


def _p_value(
    found: int, n: int, false: int, n_controls: int, control: QuantileThreshold, *, is_placebo_higher: bool
) -> float | None:
    """A threshold that the placebo sets is independent of the controls' scores; one that they set is not."""
    if is_placebo_higher:
        return exchangeability_p_value(found, n, false, n_controls)
    return precedence_p_value(found, n, control.rank, n_controls)


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


def record_p_values(table: MatchTable) -> NDArray[np.float64] | None:
    """(N,) chance that a picture never trained on scores as high, by whichever null says more; None without controls.

    Against all controls' scores, and against all scores of members over the placebo.
    """
    if table.controls is None or (table.members.reconstruction < 0).all():
        return None
    by_controls = conformal_p_values(table.members.ssim, table.controls.ssim)
    if table.placebo_ssim is None:
        return by_controls
    return np.maximum(by_controls, conformal_p_values(table.members.ssim, table.placebo_ssim))


def cross_fit(judged: CrossFitted) -> CrossFit:
    """The schema's view."""
    return CrossFit(
        folds=judged.folds,
        fpr=judged.fpr,
        controls=judged.n,
        controls_found=judged.found,
        expected=judged.expected,
    )
