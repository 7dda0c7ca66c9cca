"""Everything that a network's weights say about images held: row spaces, kinks and multipliers, in one table.

In: a network with its linear layers, members and controls as network inputs. Out: a `MembershipTable`.
"""

from collections.abc import Callable

from torch import Tensor

from privaudit.adapters.interface import AttackTarget
from privaudit.membership.combination import Part
from privaudit.membership.exposure import Exposure, exposure
from privaudit.membership.rectified import channel_kink_excess, n_with_channels, rectified_sites
from privaudit.membership.table import MembershipTable, membership_test
from privaudit.spans import Cut, LinearSite

MULTIPLIERS = "multipliers"
"""Name of the part that exposure is."""

_NO_CONTROLS = "Without controls there is nothing to compare multipliers with."


def read_membership(
    target: AttackTarget,
    sites: tuple[LinearSite, ...],
    cut: Cut | None,
    members: Tensor,
    controls: Tensor | None,
    fpr: float,
    *,
    with_multipliers: bool = True,
    on_progress: Callable[[float], None] = lambda _: None,
) -> MembershipTable:
    """Read all parts and combine them on the scale of the controls.

    Args:
        target: the network; multipliers are of the parameters that training moved.
        sites: its linear layers in the order of the forward pass.
        cut: spectrum of the first; None where there is none or it was too large.
        members: (N, C, H, W) network inputs.
        controls: the same, or None.
        fpr: false-positive rate in (0, 1).
        with_multipliers: whether to solve for them, which takes seconds to minutes.
        on_progress: told the share of that which is done.
    """
    direct = rectified_sites(target.module, sites, members)
    further: list[Part] = []
    n_layers = n_with_channels(target.module, members)
    if n_layers:
        name = f"kinks of {n_layers} convolutional layer{'s' if n_layers > 1 else ''}"
        kinks = None if controls is None else channel_kink_excess(target.module, controls)
        further.append(Part(name, channel_kink_excess(target.module, members), kinks))
    solved: Exposure | str = _NO_CONTROLS
    if not with_multipliers:
        solved = "Not run: inspect reads what takes seconds, scan also solves for multipliers."
    elif controls is not None and len(controls):
        solved = exposure(target.as_trained, members, controls, on_progress)
    if isinstance(solved, Exposure):
        further.append(Part(MULTIPLIERS, solved.members, solved.controls))
    first = sites[0] if sites else None
    return membership_test(first, cut, direct, members, controls, fpr, tuple(further), solved)
