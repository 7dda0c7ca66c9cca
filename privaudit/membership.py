"""Membership readable from the weights: which held images lie in the row space of a linear layer (METHOD 3b).

No optimisation and no labels: the share of an image's features outside the span of the layer's signal directions. A
weaker finding than a rebuilt image (the attacker must hold the image already), and kept apart from it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.spans import Cut, LinearSite
from privaudit.statistics import (
    auc,
    counts_interval,
    exchangeability_p_value,
    lower_bound_beyond_chance,
)

_BLOCK = 1024


@dataclass(frozen=True)
class MembershipTable:
    """The test and its outcome; field meanings as in `privaudit.result.Membership`.

    Attributes:
        member_distance: (N,) share of the norm outside the span, in [0, 1], lower is more member-like; None where the
            test does not apply.
        control_distance: the same for controls.
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


def applicability(site: LinearSite | None, cut: Cut | None) -> str:
    """Why the test does not apply, or an empty string."""
    if site is None or cut is None:
        return "The network has no linear layer whose row space could be read."
    if cut.rule == "none":
        return f"No direction of layer {site.name} stands above the spectrum of a random matrix: nothing to read there."
    if cut.rank >= site.weight.shape[1]:
        return f"All {cut.rank} directions of layer {site.name} carry signal, so every image lies in its row space."
    return ""


def span_distance(site: LinearSite, rank: int, inputs: Tensor) -> NDArray[np.float64]:
    """`‖f − V Vᵀ f‖ / ‖f‖` of (N, C, H, W) network inputs, f what enters the layer; (N,) in [0, 1].

    In float64: members of a network trained to the end lie 1e-4 outside.
    """
    span = torch.linalg.svd(site.weight.double(), full_matrices=False)[2][:rank]
    distances = []
    with torch.no_grad():
        for block in torch.split(inputs, _BLOCK):
            features = site.features(block.to(site.weight)).double()
            outside = features - (features @ span.T) @ span
            norm = features.norm(dim=1)
            # An image without features (all zeros) is in every span and says nothing: as far as can be.
            distances.append(torch.where(norm > 0, outside.norm(dim=1) / norm.clamp_min(1e-300), 1.0))
    return torch.cat(distances).cpu().numpy()


def membership_by_span(
    site: LinearSite | None, cut: Cut | None, members: Tensor, controls: Tensor | None, fpr: float
) -> MembershipTable:
    """Count the members that lie nearer to the span than every control.

    That threshold is the strictest that controls support: a fresh control passes it with probability 1 / (n + 1), which
    has to be at most `fpr`. (Where members are told from controls they are so by orders of magnitude, METHOD 3b.)

    Args:
        site: the first linear layer.
        cut: its spectrum.
        members: (N, C, H, W) network inputs.
        controls: the same, or None: then distances are given and no threshold.
        fpr: false-positive rate in (0, 1).
    """
    reason = applicability(site, cut)
    name = "none" if site is None else site.name
    method = f"share of the norm outside the row space of layer {name} (METHOD 3b)"
    if reason or site is None or cut is None:
        return MembershipTable(method, False, reason, fpr, None, 0, 0, 0.0, 0.0, None, None, None, None)
    distance = span_distance(site, cut.rank, members)
    if controls is None:
        why = "Without controls no false-positive rate can be given."
        return MembershipTable(method, True, why, fpr, None, 0, 0, 0.0, float(len(members)), None, None, distance, None)
    control = span_distance(site, cut.rank, controls)
    strictest = 1 / (len(control) + 1)
    threshold = float(control.min()) if strictest <= fpr else None
    why = f"First {cut.rank} of {len(cut.singular_values)} directions; members nearer than every control count."
    if threshold is None:
        why = f"{len(control)} controls cannot support a false-positive rate of {fpr:g}; {round(1 / fpr)} would do."
    found = 0 if threshold is None else int((distance < threshold).sum())
    false = 0 if threshold is None else int((control < threshold).sum())
    interval = counts_interval(found, len(members))
    return MembershipTable(
        method,
        True,
        why,
        fpr if threshold is None else strictest,
        threshold,
        found,
        false,
        0.0 if threshold is None else lower_bound_beyond_chance(found, len(members), strictest),
        float(len(members)) if threshold is None else interval.high,
        None if threshold is None else exchangeability_p_value(found, len(members), false, len(control)),
        auc(distance, control),
        distance,
        control,
    )
