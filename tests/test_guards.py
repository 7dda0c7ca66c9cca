"""Decoys and line-ups."""

import numpy as np
import pytest
import torch

from privaudit.data import ImageSet
from privaudit.guards import Guards, guard
from privaudit.matching import match
from privaudit.ssim import FROZEN


def pictures(n: int, seed: int, labels: list[int] | None = None) -> ImageSet:
    coarse = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    pixels = torch.nn.functional.interpolate(coarse, size=(12, 12), mode="bicubic").clamp(0, 1)
    return ImageSet(pixels, None if labels is None else torch.tensor(labels), tuple(map(str, range(n))), "")


def run(
    reference: ImageSet, control: ImageSet | None, pool: torch.Tensor, threshold: float | None = 0.4, seed: int = 0
) -> Guards:
    table = match(pool, reference.pixels, None if control is None else control.pixels, None, 0)
    return guard(reference, control, pool, table, threshold, seed)


def test_a_true_reconstruction_comes_first_in_its_line_up():
    reference, control = pictures(6, 0), pictures(300, 1)
    found = run(reference, control, torch.cat([reference.pixels[2:3] + 0.02, pictures(5, 9).pixels]), 0.9)
    assert found.rank[2] == 1 and found.size == (100,) * 6 and found.nearer_decoy[2] is None


def test_ranks_are_uniform_where_nothing_was_rebuilt():
    """Members and controls choose their best from one pool of strangers; all records are lined up, so none is chosen.

    The mean of 80 x 20 ranks in line-ups of 100 has a standard error of at most 29 / sqrt(80) if those of one line-up
    went together; the bounds are 4 of them away. First places: 16 of 1,600 by chance.
    """
    ranks = []
    for seed in range(80):
        found = run(pictures(20, 100 + seed), pictures(99, 200 + seed), pictures(10, 300 + seed).pixels, seed=seed)
        ranks += list(found.rank)
    assert 37.5 < np.mean(ranks) < 63.5
    assert sum(rank == 1 for rank in ranks) < 60


def test_controls_of_the_class_are_lined_up_first():
    reference = pictures(2, 0, [1, 0])
    control = pictures(200, 1, [0] * 150 + [1] * 50)
    control.pixels[150:] = reference.pixels[0]  # whoever lines up class 1 sees fifty of it
    found = run(reference, control, reference.pixels[:1], 0.9)
    assert (found.rank[0], found.size[0]) == (51, 100)


def test_a_record_no_nearer_than_a_mean_is_marked():
    reference = pictures(20, 0, [0] * 19 + [1])
    others = reference.pixels[torch.tensor([i for i in range(19) if i != 3])].mean(0)
    found = run(reference, None, others[None], threshold=-1.0)
    assert found.nearer_decoy[3] is None  # the mean is nearer to it than the threshold: then it is not nobody's
    between = torch.lerp(others, reference.pixels[3], 0.02)
    found = run(reference, None, between[None], FROZEN.score(others.numpy(), reference.pixels[3].numpy()) + 1e-4)
    assert found.nearer_decoy[3] == "mean of class 0"
    assert [name for name, _ in found.decoys] == ["data mean", "mean of class 0"]


def test_means_of_a_few_pictures_of_one_subject_are_no_decoys():
    """Five noisy shots of each of forty scenes, labelled by scene; what is rebuilt are the scenes."""
    scenes = pictures(40, 0).pixels
    shots = scenes.repeat_interleave(5, 0)
    shots = shots + 0.03 * torch.randn(shots.shape, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(40).repeat_interleave(5)
    found = run(ImageSet(shots, labels, tuple(map(str, range(200))), ""), None, scenes, 0.6)
    assert found.nearer_decoy == (None,) * 200
    assert [name for name, _ in found.decoys] == ["data mean"]


def test_many_shots_of_one_subject_are_not_set_aside_for_their_mean():
    scene = pictures(1, 0).pixels
    shots = scene + 0.03 * torch.randn(30, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    found = run(ImageSet(shots, torch.zeros(30, dtype=torch.int64), tuple(map(str, range(30))), ""), None, scene, 0.6)
    assert found.nearer_decoy == (None,) * 30


def test_means_leave_the_record_out():
    reference = pictures(12, 0)
    found = run(reference, None, reference.pixels[4:5], 0.5)
    assert found.nearer_decoy[4] is None
    assert dict(found.decoys)["data mean"] < 1


def test_without_a_threshold_or_controls_nothing_is_asked():
    found = run(pictures(3, 0), None, pictures(4, 2).pixels, None)
    assert found.nearer_decoy == found.rank == found.size == (None, None, None)
    assert run(pictures(30, 0), None, torch.zeros(0, 1, 12, 12), None).decoys == ()
    assert dict(run(pictures(30, 0), None, pictures(4, 2).pixels, None).decoys).keys() == {"data mean"}
    assert run(pictures(3, 0), pictures(5, 1), pictures(4, 2).pixels, None).size == (6, 6, 6)


@pytest.mark.parametrize("seed", [0, 1])
def test_line_ups_are_drawn_by_seed(seed):
    reference, control, pool = pictures(5, 0), pictures(300, 1), pictures(6, 2).pixels
    assert run(reference, control, pool, seed=seed).rank == run(reference, control, pool, seed=seed).rank
