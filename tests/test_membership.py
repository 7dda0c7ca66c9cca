"""Membership by the span: a planted span, and draws that nothing tells apart."""

import numpy as np
import pytest
import torch
from torch import nn

from privaudit.membership import membership_test
from privaudit.membership.parts import span_distance
from privaudit.membership.table import applicability
from privaudit.spans import Cut, LinearSite, cut_spectrum

D, WIDTH, N = 40, 60, 12


def site_of(weight: torch.Tensor) -> LinearSite:
    return LinearSite("first", weight, None, lambda inputs: inputs.flatten(1), True)


def images(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 1, 5, 8, generator=torch.Generator().manual_seed(seed))


def planted(noise: float = 1e-3, seed: int = 0):
    """A layer whose rows are mixtures of N images, and those images."""
    members = images(N, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    mixtures = torch.randn(WIDTH, N, generator=generator) @ members.flatten(1)
    return members, site_of(mixtures + noise * torch.randn(WIDTH, D, generator=generator))


def test_every_member_of_a_planted_span_is_found_and_no_control():
    members, site = planted()
    cut = cut_spectrum(site.weight)
    assert cut.rank == N and cut.has_cliff
    found = membership_test(site, cut, (), members, images(150, 7), 0.01)
    assert found.applicable and found.fpr == pytest.approx(1 / 151)
    assert (found.members_found, found.controls_found) == (N, 0)
    assert found.auc == 1 and found.p_value < 1e-10
    assert 5 < found.interval_low < N and found.interval_high == N
    assert 0 < found.member_distance.max() < 1e-6 < found.control_distance.min() <= 1
    assert found.threshold == found.control_distance.min()


def test_distances_are_exact_in_double_precision():
    members, site = planted(noise=0)
    assert span_distance(site, N, members).max() < 1e-6
    outside = torch.linalg.svd(site.weight.double())[2][N:]
    controls = images(3, 5)
    expected = (controls.flatten(1).double() @ outside.T).norm(dim=1) / controls.flatten(1).double().norm(dim=1)
    np.testing.assert_allclose(span_distance(site, N, controls), expected.numpy(), rtol=1e-6)


def test_blocks_change_nothing():
    _, site = planted()
    many = images(1500, 3)
    np.testing.assert_allclose(span_distance(site, N, many)[[0, 1400]], span_distance(site, N, many[[0, 1400]]))


def test_exchangeable_images_raise_no_alarm_more_often_than_stated():
    """Members and controls of one distribution, 200 networks.

    The p-value is exact, so `p <= 0.05` in at most 5 % of the cases: 10 expected, more than 22 have probability 2e-4.
    A single member passes the threshold with probability 1 / 101: of 4,000, 40 are expected. Members of one network
    share the threshold, so their number has deviation 20 and not 6; more than 120 have probability below 1e-3.
    """
    alarms, passed = 0, 0
    for seed in range(200):
        _, site = planted(seed=3 * seed)
        cut = cut_spectrum(site.weight)
        pool = images(120, 100_000 + seed)
        found = membership_test(site, cut, (), pool[:20], pool[20:], 0.01)
        alarms += int(found.p_value <= 0.05)
        passed += found.members_found
        assert found.controls_found == 0
    assert alarms <= 22
    assert 0 < passed <= 120


def test_too_few_controls_give_distances_and_no_threshold():
    members, site = planted()
    cut = cut_spectrum(site.weight)
    few = membership_test(site, cut, (), members, images(98, 7), 0.01)
    assert few.threshold is None and few.members_found == 0 and few.p_value is None
    assert "98 controls" in few.reason and few.auc == 1
    assert membership_test(site, cut, (), members, images(99, 7), 0.01).threshold is not None
    without = membership_test(site, cut, (), members, None, 0.01)
    assert without.threshold is None and len(without.member_distance) == N and without.control_distance is None


def test_where_it_does_not_apply_it_says_why():
    noise = site_of(torch.randn(WIDTH, D, generator=torch.Generator().manual_seed(0)))
    untrained = membership_test(noise, cut_spectrum(noise.weight), (), images(5, 0), images(150, 1), 0.01)
    assert not untrained.applicable and untrained.member_distance is None and untrained.threshold is None
    assert "first" in untrained.reason and "random" in untrained.reason
    assert "no linear layer" in applicability(None, None)
    full = Cut(np.ones(D), D, D, D, 1.0, "full")
    assert "every image" in applicability(noise, full)
    assert applicability(*[planted()[1], cut_spectrum(planted()[1].weight)]) == ""
    wide = site_of(nn.Linear(D, 10).weight.detach())
    assert applicability(wide, Cut(np.ones(10), 10, 10, 10, 1.0, "full")) == ""


def test_an_image_without_features_is_never_a_member():
    members, site = planted()
    members[3] = 0  # one reference image minus its own mean is nothing at all
    found = membership_test(site, cut_spectrum(site.weight), (), members, images(150, 7), 0.01)
    assert found.member_distance[3] > 0.5
    assert found.members_found == N - 1
