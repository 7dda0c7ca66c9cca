"""What recurs between restarts."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.agreement import agreement, distinct, unit_images

SHAPE = (1, 6, 6)


def images(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def planted():
    """Three restarts of four candidates; image A in all three, image B in two, the rest random."""
    a, b = images(2, 99)
    found = images(12, 0)
    for place, image in ((0, a), (5, a), (11, a), (2, b), (8, b)):
        found[place] = image + 0.1 * images(1, 100 + place)[0]
    return found, torch.arange(3).repeat_interleave(4), a, b


def test_what_recurs_is_kept_once_strongest_first():
    found, restart, a, b = planted()
    common = agreement(found, restart)
    assert common.votes.tolist() == [2, 0, 1, 0, 0, 2, 0, 0, 1, 0, 0, 2]
    assert len(common.kept) == 2
    assert common.kept[0] in (0, 5, 11) and common.kept[1] in (2, 8)
    average = common.average(found)
    for image, expected, members in ((average[0], a, [0, 5, 11]), (average[1], b, [2, 8])):
        torch.testing.assert_close(image, found[members].mean(0))
        assert float((unit_images(image[None]) @ unit_images(expected[None]).T)[0, 0]) > 0.99


def test_twice_in_one_restart_is_no_agreement():
    found = images(8, 0)
    found[1] = found[0]
    common = agreement(found, torch.arange(2).repeat_interleave(4))
    assert common.votes.tolist() == [0] * 8 and common.kept == []
    assert common.average(found).shape == (0, *SHAPE)


def test_candidates_on_their_own_are_each_a_restart():
    found = images(6, 0)
    found[4] = 2 * found[1] + 3  # brightness and contrast do not count
    common = agreement(found, torch.arange(6))
    assert common.votes.tolist() == [0, 1, 0, 0, 1, 0]
    assert len(common.kept) == 1


def test_restarts_may_have_any_numbers():
    found, restart, *_ = planted()
    torch.testing.assert_close(agreement(found, restart).votes, agreement(found, 10 + 7 * restart).votes)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_candidates_does_not_matter(order):
    found, restart, *_ = planted()
    plain, permuted = agreement(found, restart), agreement(found[order], restart[order])
    assert permuted.votes.tolist() == plain.votes[order].tolist()
    groups = [{0, 5, 11}, {2, 8}]
    assert [next(g for g in groups if order[i] in g) for i in permuted.kept] == groups


def test_repeats_are_left_out_in_the_order_given():
    found = images(5, 0)
    found[3] = found[1] + 0.01 * images(1, 9)[0]
    units = unit_images(found)
    similarity = units @ units.T
    assert distinct(torch.tensor([3, 0, 1, 2, 4]), similarity, 0.9) == [3, 0, 2, 4]
    assert distinct(torch.tensor([1, 0, 3]), similarity, 0.9) == [1, 0]
    assert distinct(torch.tensor([], dtype=torch.int64), similarity, 0.9) == []
