"""The tied equation against a loop over candidates, its starts, and how the true images of a network fit."""

import math

import pytest
import torch
from attack_problems import N_OUTPUTS, knowledge, mlp, span_space, trained_problem

from privaudit.objectives.loss_ties import LOSS_TIES
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.solver import SolverSettings, minimise
from privaudit.spans import smooth_span

M, R = 5, 2
TIE = LOSS_TIES["cross_entropy"]


def tied(dtype=torch.float64, n_candidates: int = M) -> TiedEquation:
    return TiedEquation(mlp(), span_space(), knowledge(), TIE, 0.3, n_candidates, dtype)


def begun(objective: TiedEquation, seed: int = 0):
    variables = objective.start(R, torch.Generator().manual_seed(seed))
    for name, value in variables.items():
        if name.startswith("gates"):
            value.copy_(torch.rand(value.shape, generator=torch.Generator().manual_seed(1)))
    return variables


def slow_residual(objective: TiedEquation, variables, band: float) -> torch.Tensor:
    """One candidate and one neuron after another, whole matrices, in the words of the docstring."""
    network, space = mlp().double(), span_space()
    layers = network.linear_layers()
    weights = [layer.weight.detach() for layer in layers]
    first = weights[0] @ space.decoder.double().T
    _, singular, right = torch.linalg.svd(first, full_matrices=False)
    losses = []
    for r in range(R):
        sums, bias_sum = [torch.zeros_like(first), *(torch.zeros_like(w) for w in weights[1:])], 0
        for i in range(M):
            point = variables["coordinates"][r, i] * space.scale.double()
            pre = [first @ point + layers[0].bias.detach()]
            pre.append(weights[1] @ pre[0].relu())
            outputs = weights[2] @ pre[1].relu()
            label = variables["labels"][r, i]
            signal = variables["log_sizes"][r, i].exp() * TIE.direction(outputs, label)
            sums[2] += torch.outer(signal, pre[1].relu())
            for layer in (1, 0):
                z, free = pre[layer], variables[f"gates_{layer}"][r, i]
                low, high = (z / band).clamp(0, 1), (1 + z / band).clamp(0, 1)
                signal = (weights[layer + 1].T @ signal) * (low + (high - low) * free)
                sums[layer] += torch.outer(signal, pre[0].relu() if layer else point)
            bias_sum = bias_sum + signal
        norms = [float((w**2).sum()) for w in weights[1:]]
        norms.insert(0, float((first**2).sum()))
        importance = [min(norms) / norm for norm in norms]
        left = (first - sums[0]) @ right.T / singular.sqrt()
        whole = first @ right.T / singular.sqrt()
        bias = layers[0].bias.detach()
        loss = importance[0] * (left**2).sum() / (whole**2).sum()
        loss = loss + 0.1 * importance[0] * ((bias - bias_sum) ** 2).sum() / (bias**2).sum()
        for index in (1, 2):
            loss = loss + importance[index] * ((weights[index] - sums[index]) ** 2).sum() / norms[index]
        losses.append(loss)
    return torch.stack(losses)


def test_the_residual_is_that_of_a_loop():
    objective = tied()
    variables = begun(objective)
    expected = slow_residual(objective, variables, 0.003)
    torch.testing.assert_close(objective.residual(variables)[0], expected, rtol=1e-4, atol=1e-8)


def test_the_gradient_is_that_of_finite_differences():
    objective = tied()
    variables = begun(objective)
    leaves = {name: value.clone().requires_grad_() for name, value in variables.items() if name != "labels"}
    objective.loss(leaves | {"labels": variables["labels"]}, 0, 0.0).sum().backward()
    for name, step in (("coordinates", 1e-6), ("log_sizes", 1e-6), ("gates_0", 1e-5), ("gates_1", 1e-5)):
        direction = torch.randn(variables[name].shape, generator=torch.Generator().manual_seed(2)).double()
        shifted = [variables | {name: variables[name] + sign * step * direction} for sign in (1, -1)]
        high, low = (float(objective.loss(each, 0, 0.0).sum()) for each in shifted)
        assert (high - low) / (2 * step) == pytest.approx(float((leaves[name].grad * direction).sum()), rel=1e-3), name


def test_gates_stay_between_zero_and_one():
    objective = tied()
    variables = begun(objective)
    variables["gates_0"] += 3
    objective.project(variables, 0.5)
    assert float(variables["gates_0"].max()) == 1 and float(variables["gates_0"].min()) >= 0


def test_candidates_that_contradict_their_output_are_not_taken_over():
    objective = tied()
    variables = begun(objective)
    points = 2 * torch.randn(1, 3, span_space().rank, generator=torch.Generator().manual_seed(4)).double()
    labels = TIE.label(objective._outputs(points))
    wrong = labels.clone()
    wrong[0, 1] = (wrong[0, 1] + 1) % N_OUTPUTS
    before = variables["coordinates"][0].clone()
    objective.take_over(variables, points, torch.nn.functional.one_hot(wrong, N_OUTPUTS).double() - 0.1)
    assert variables["labels"][0, :2].tolist() == [int(labels[0, 0]), int(labels[0, 2])]
    cosine = torch.nn.functional.cosine_similarity(variables["coordinates"][0, :2], points[0, [0, 2]], dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))  # only the contrast may change
    assert torch.equal(variables["coordinates"][0, 2:], before[2:])


def test_the_true_images_fit_better_than_what_a_search_ends_at():
    """The premise: with multipliers tied and kinks free, the loss can tell the truth from a false optimum."""
    problem = trained_problem(steps=600)
    space = smooth_span(problem.network.linear_layers()[0].weight, 7, problem.target, problem.knowledge.std)
    objective = TiedEquation(problem.network, space, problem.knowledge, TIE, -math.log(8 * 0.005), 8)
    truth = objective.start(1, torch.Generator().manual_seed(0))
    truth["coordinates"][0] = (problem.members.flatten(1) @ space.decoder.T) / space.scale
    truth["labels"][0] = torch.arange(8) % 3
    outputs = objective._outputs(truth["coordinates"])
    truth["log_sizes"] = -math.log(8 * 0.005) + TIE.log_size(outputs, truth["labels"])
    assert float(objective.gaps(truth).abs().max()) < 1e-5
    objective.learning_rates = {name: 0.1 for name in objective.learning_rates if name.startswith("gates")}
    fitted = minimise(objective, truth, SolverSettings(150)).variables
    other = objective.start(1, torch.Generator().manual_seed(1))
    strangers = minimise(objective, other, SolverSettings(150)).variables
    assert float(objective.residual(fitted)[0]) < 0.2 * float(objective.residual(strangers)[0])
