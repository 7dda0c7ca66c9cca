"""Feature-span inversion on a network trained to the end, and its gradient."""

import pytest
import torch
from attack_problems import as_modules, knowledge, mlp, span_space, target_of, trained_convnet

from privaudit.networks import mlp_features
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.spans import SearchSpace, linear_sites, pixel_space

KNOWN = knowledge()


def search(space: SearchSpace, known: AttackerKnowledge = KNOWN, n: int = 6, seed: int = 0) -> FeatureSpan:
    network = as_modules(mlp(seed=seed))
    return FeatureSpan(linear_sites(target_of(network))[1], 3, space, known, n)


@pytest.fixture(scope="module")
def trained():
    return trained_convnet()


def test_training_images_lie_nearer_to_the_row_space_than_every_control(trained):
    sites = linear_sites(trained.target)
    space = pixel_space(trained.target.input_shape, torch.ones(1, 1, 1))
    found = FeatureSpan(sites[0], len(trained.members) + 4, space, trained.knowledge, 3)  # generous (METHOD 3e)
    members, controls = found.outside(trained.members), found.outside(trained.controls)
    assert float(members.max()) < float(controls.min())
    assert float(members.median()) < 0.2 * float(controls.median())
    assert float(members.min()) >= 0 and float(controls.max()) <= 1


def test_the_full_row_space_holds_everything_and_an_orthogonal_one_nothing():
    site = linear_sites(target_of(as_modules(mlp())))[1]
    space = pixel_space((1, 5, 4), torch.ones(1, 1, 1))
    inputs = torch.randn(4, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    features = site.features(inputs)
    assert float(FeatureSpan(site, 0, space, KNOWN, 3).outside(inputs).min()) == 1
    basis = torch.linalg.svd(site.weight)[2]
    for rank in (2, 5):
        expected = 1 - ((features @ basis[:rank].T) ** 2).sum(1) / (features**2).sum(1)
        torch.testing.assert_close(FeatureSpan(site, rank, space, KNOWN, 3).outside(inputs), expected)


@pytest.mark.parametrize("kind", ["pixels", "span"])
def test_gradient_agrees_with_finite_differences(kind):
    shape, double = (1, 5, 4), torch.float64
    network = as_modules(mlp()).double()
    site = linear_sites(target_of(network.float()))[1]
    network.double()
    space = span_space(dtype=double) if kind == "span" else pixel_space(shape, torch.full((1, 1, 1), 0.5))
    found = FeatureSpan(site, 3, space, KNOWN, 5)
    found._span = found._span.double()
    generator = torch.Generator().manual_seed(3)
    variables = {name: value.double() for name, value in found.start(2, generator).items()}
    coordinates = variables["coordinates"].requires_grad_()
    (gradient,) = torch.autograd.grad(found.loss(variables, 1, 0.5).sum(), coordinates)
    direction = torch.randn(gradient.shape, generator=generator, dtype=double)
    ends = [
        float(found.loss({"coordinates": coordinates.detach() + sign * 1e-6 * direction}, 1, 0.5).sum())
        for sign in (1, -1)
    ]
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


def test_the_norm_is_held_for_the_first_part_and_free_later():
    space = span_space()
    found = search(space)
    variables = found.start(2, torch.Generator().manual_seed(0))
    norms = sorted(set(variables["norms"].flatten().tolist()))
    assert len(norms) == 3 and norms[2] / norms[0] == pytest.approx(1.3 / 0.7)
    variables["coordinates"] *= 5
    found.project(variables, 0.2)
    held = (variables["coordinates"] * space.scale).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(held, variables["norms"])
    variables["coordinates"] *= 5
    found.project(variables, 0.9)
    free = (variables["coordinates"] * space.scale).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(free, 5 * variables["norms"])


def test_candidates_do_not_touch_each_other():
    found = search(span_space())
    variables = found.start(1, torch.Generator().manual_seed(0))
    before = found.candidate_losses(variables)
    variables["coordinates"][:, 0] += 1
    after = found.candidate_losses(variables)
    torch.testing.assert_close(before[:, 1:], after[:, 1:], rtol=0, atol=0)
    assert float((before - after)[0, 0].abs()) > 1e-4


def test_features_from_points_are_those_of_the_images():
    network, space = mlp(), span_space()
    site = linear_sites(target_of(network))[1]
    points = mlp_features(network, 1, network.linear_layers()[0].weight @ space.decoder.T)
    fast, slow = FeatureSpan(site, 3, space, KNOWN, 6, points), FeatureSpan(site, 3, space, KNOWN, 6)
    variables = fast.start(2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(fast.loss(variables, 0, 0.0), slow.loss(variables, 0, 0.0), rtol=1e-5, atol=1e-5)
