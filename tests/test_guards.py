"""Decoys and line-ups."""

import numpy as np
import pytest
import torch

from privaudit.data import ImageSet
from privaudit.guards import guard
from privaudit.matching import best_scores


def pictures(n: int, seed: int, labels: list[int] | None = None) -> ImageSet:
    coarse = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    pixels = torch.nn.functional.interpolate(coarse, size=(12, 12), mode="bicubic").clamp(0, 1)
    return ImageSet(pixels, None if labels is None else torch.tensor(labels), tuple(map(str, range(n))), "")


def run(reference: ImageSet, control: ImageSet | None, pool: torch.Tensor, threshold: float | None = 0.4):
    return guard(reference, control, pool, best_scores(reference.pixels, pool), threshold, 0)


def test_a_true_reconstruction_comes_first_in_its_line_up():
    reference, control = pictures(6, 0), pictures(300, 1)
    found = run(reference, control, torch.cat([reference.pixels[2:3] + 0.02, pictures(5, 9).pixels]), 0.9)
    assert found.rank[2] == 1 and found.size[2] == 100 and found.nearer_decoy[2] is None
    assert [rank for i, rank in enumerate(found.rank) if i != 2] == [None] * 5


def test_ranks_are_uniform_where_the_reconstruction_has_nothing_to_do_with_the_record():
    """Rank of one of 100 exchangeable pictures; the mean of 60 has a standard error of 3.7, the bounds are 5 away."""
    ranks = []
    for seed in range(60):
        found = run(pictures(1, 100 + seed), pictures(99, 200 + seed), pictures(1, 300 + seed).pixels, -1.0)
        ranks.append(found.rank[0])
    assert 32 < np.mean(ranks) < 69


def test_controls_of_the_class_are_lined_up_first():
    reference = pictures(2, 0, [1, 0])
    control = pictures(200, 1, [0] * 150 + [1] * 50)
    control.pixels[150:] = reference.pixels[0]  # whoever lines up class 1 sees fifty of it
    found = run(reference, control, reference.pixels[:1], 0.9)
    assert (found.rank[0], found.size[0]) == (51, 100)


def test_means_are_scored_and_a_record_no_nearer_than_one_is_marked():
    reference = pictures(20, 0, [0] * 19 + [1])
    others = reference.pixels[torch.tensor([i for i in range(19) if i != 3])].mean(0)
    found = run(reference, None, others[None], threshold=-1.0)
    assert found.nearer_decoy[3] == "mean of class 0"
    assert [name for name, _ in found.decoys] == ["data mean", "mean of class 0"]
    assert dict(found.decoys)["mean of class 0"] == pytest.approx(1, abs=0.05)
    assert found.rank == (None,) * 20


def test_without_a_threshold_nothing_is_asked():
    found = run(pictures(3, 0), pictures(10, 1), pictures(4, 2).pixels, None)
    assert found.nearer_decoy == found.rank == found.size == (None, None, None)
    assert run(pictures(3, 0), None, torch.zeros(0, 1, 12, 12), None).decoys == ()
