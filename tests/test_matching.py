"""Members, controls and placebo through the same code with pools of equal size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.matching import best_scores, match
from privaudit.ssim import FROZEN

SHAPE = (1, 9, 9)


def images(n: int, seed: int) -> torch.Tensor:
    coarse = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bicubic").clamp(0, 1)


def test_a_copy_is_found_and_named():
    held = images(6, 0)
    pool = torch.cat([images(10, 1), held[[4, 2]]])
    found = best_scores(held, pool)
    assert found.reconstruction[[4, 2]].tolist() == [10, 11]
    assert found.ssim[[4, 2]] == pytest.approx(1, abs=1e-5) and found.ncc[[4, 2]] == pytest.approx(1, abs=1e-5)
    assert float(np.delete(found.ssim, [2, 4]).max()) < 0.99
    assert found.ssim.dtype == np.float64 and found.reconstruction.dtype == np.int64


def test_scores_are_the_best_ssim_of_the_three_nearest_by_correlation():
    held, pool = images(5, 0), images(12, 1)
    found = best_scores(held, pool)
    for i in range(5):
        centred = [(x - x.mean()).flatten() / (x - x.mean()).norm() for x in (held[i], *pool)]
        ncc = torch.stack([centred[0] @ other for other in centred[1:]])
        nearest = ncc.argsort(descending=True)[:3].tolist()
        scores = {j: FROZEN.score(held[i].numpy(), pool[j].numpy()) for j in nearest}
        assert found.ssim[i] == pytest.approx(max(scores.values()), abs=1e-6)
        assert int(found.reconstruction[i]) == max(scores, key=scores.get)
        assert found.ncc[i] == pytest.approx(float(ncc.max()), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)), st.permutations(range(5)))
def test_order_changes_nothing_but_the_names(pool_order, held_order):
    held, pool = images(5, 0), images(8, 1)
    plain, permuted = best_scores(held, pool), best_scores(held[held_order], pool[pool_order])
    np.testing.assert_allclose(permuted.ssim, plain.ssim[held_order], atol=1e-6)
    np.testing.assert_allclose(permuted.ncc, plain.ncc[held_order], atol=1e-6)
    named = [pool_order[j] for j in permuted.reconstruction]
    assert named == plain.reconstruction[held_order].tolist()


def test_controls_go_through_the_code_of_members():
    members, controls, pool = images(6, 0), images(7, 2), images(9, 1)
    one, other = match(pool, members, controls, None, 0), match(pool, controls, members, None, 0)
    np.testing.assert_array_equal(one.controls.ssim, other.members.ssim)
    np.testing.assert_array_equal(one.members.ssim, other.controls.ssim)
    assert one.placebo_ssim is None


def test_the_placebo_has_as_many_images_and_enough_draws():
    members, pool = images(100, 0), images(9, 1)
    seeds = []

    def placebo(generator: torch.Generator) -> torch.Tensor:
        seeds.append(generator.initial_seed())
        return images(len(pool), generator.initial_seed())

    table = match(pool, members, None, placebo, 40)
    assert table.placebo_ssim.shape == (10, 100)  # a thousand scores to read a 1 % quantile off
    assert seeds == list(range(40, 139))  # and ninety-nine sets for an exact p-value of 1 in 100
    np.testing.assert_array_equal(table.placebo_ssim[2], best_scores(members, images(9, 42)).ssim)
    assert match(pool, members[:3], None, placebo, 0).placebo_ssim.shape == (20, 3)
    assert match(pool, images(600, 3), None, placebo, 0).placebo_ssim.shape == (3, 600)


def test_a_pool_made_of_placebos_does_not_stand_out():
    """Members against pools of one distribution: the pool's rank among 20 draws is uniform over 21 places.

    Below the lowest or above the highest of the draws falls 2 in 21 by chance; over 20 seeds more than 8 such extremes
    have probability 1e-4.
    """
    extremes = 0
    for seed in range(20):
        table = match(
            images(10, 5000 + seed),
            images(4, seed),
            None,
            lambda g: images(10, 7919 * (g.initial_seed() + 1)),
            1000 * seed,
        )
        means = table.placebo_ssim.mean(1)
        extremes += int(not means.min() < table.members.ssim.mean() < means.max())
    assert extremes <= 8


def test_the_exact_test_against_draws_keeps_its_rate():
    """Pools of the placebo's own kind are at or below p = 0.1 once in ten; over 60 seeds 15 or more has chance 3e-4."""
    found = [
        match(
            images(10, 5000 + seed),
            images(4, seed),
            None,
            lambda g: images(10, 7919 * (g.initial_seed() + 1)),
            1000 * seed,
        ).placebo_p_value
        for seed in range(60)
    ]
    assert sum(p <= 0.1 for p in found) < 15
    assert min(found) >= 0.01


@pytest.mark.parametrize("n_copies", [1, 20])
def test_one_copy_is_more_than_draws_show_and_so_are_many(n_copies):
    members = images(50, 0)
    pool = torch.cat([members[:n_copies], images(30, 1)])
    table = match(pool, members, None, lambda g: images(len(pool), 7919 * (g.initial_seed() + 1)), 0)
    assert table.placebo_p_value == 0.01


def test_the_nearest_control_is_nearest_to_the_reconstruction_and_not_to_the_member():
    members, controls = images(2, 0), images(6, 2)
    pool = torch.stack([controls[3], controls[5]]) + 0.01 * images(2, 9)
    table = match(pool, members, controls, None, 0)
    assert table.nearest_control.tolist() == [[3, 5][j] for j in table.members.reconstruction]


def test_nothing_rebuilt_is_no_error():
    table = match(torch.zeros(0, *SHAPE), images(3, 0), images(4, 1), lambda g: images(0, 0), 0)
    assert table.members.ssim.tolist() == [-1] * 3 and table.members.reconstruction.tolist() == [-1] * 3
    assert table.controls.ssim.tolist() == [-1] * 4
    assert table.placebo_ssim is None and table.nearest_control is None
