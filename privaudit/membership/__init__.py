"""Membership readable from the weights: which held images the layers betray, without rebuilding any (METHOD 3b).

In: a network's linear layers and images held (members, controls). Out: a `MembershipTable`. No optimisation and no
labels. A weaker finding than a rebuilt image (the attacker must hold the image already), and kept apart from it. Must
not know the attack.
"""

from privaudit.membership.parts import rectified_sites
from privaudit.membership.table import MembershipTable, OperatingPoint, membership_test

__all__ = ["MembershipTable", "OperatingPoint", "membership_test", "rectified_sites"]
