"""Membership readable from the weights: which held images the layers betray, without rebuilding any (METHOD 3b, 5).

In: a network and images held (members, controls). Out: a `MembershipTable`. Nothing is optimised over images and no
labels are used. A weaker finding than a rebuilt image (the attacker must hold the image already), and kept apart from
it. Must not know which reconstructions there are.
"""

from privaudit.membership.reading import read_membership
from privaudit.membership.rectified import rectified_sites
from privaudit.membership.table import MembershipTable, membership_test

__all__ = ["MembershipTable", "membership_test", "read_membership", "rectified_sites"]
