"""What can be attacked, and why not."""

import pytest
import torch
from attack_problems import as_modules, convnet, knowledge, mlp, target_of, trained_convnet, trained_problem
from torch import nn

from privaudit.errors import ConfigError
from privaudit.networks import ReluMlp
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.module_equation import ModuleEquation
from privaudit.objectives.span_equation import SpanEquation
from privaudit.planted import plant
from privaudit.preflight import choose_equation, explained_by, homogeneity_error, survey
from privaudit.searches import build_searches
from privaudit.spans import linear_sites

DECAY = {"loss": "cross_entropy", "weight_decay": "0.005"}


@pytest.fixture(scope="module")
def trained():
    return trained_problem()


@pytest.fixture(scope="module")
def convolutional():
    return trained_convnet()


def searches_for(problem, found):
    return build_searches(problem.target, found, problem.knowledge, None, torch.float32, torch.device("cpu"))


def test_a_trained_chain_can_be_attacked_both_ways(trained):
    found = survey(trained.target, DECAY, "auto")
    assert found.n_images == len(trained.members) and found.n_images_is_sharp
    assert found.search_rank == len(trained.members) - 1  # the training mean was removed
    assert found.objectives == ("general_loss", "feature_span")
    assert "cliff" in found.reasons[0]
    assert found.first is not None and found.first[0].sees_inputs
    built = searches_for(trained, found)
    assert isinstance(built.equation, SpanEquation) and isinstance(built.feature_span, FeatureSpan)
    assert built.equation.space.rank == found.search_rank
    assert built.equation.n_candidates == round(1.25 * found.n_images)


def test_as_many_images_as_classes_are_counted():
    """Inputs do not collapse to class means, so a cliff behind as many directions as classes counts images there."""
    planted = plant(12, 100, 1e-2, 200)
    tensors = planted.trained().tensors
    layers = [nn.Linear(*reversed(tensors[f"layers.{i}.weight"].shape), bias=i == 0) for i in range(3)]
    network = ReluMlp(layers)
    network.load_state_dict(tensors)
    found = survey(target_of(network.eval().requires_grad_(False), (1, 25, 25), 12), planted.metadata, "auto")
    assert (found.n_images, found.n_images_is_sharp) == (12, True)


def test_an_untrained_network_shows_no_trace_of_training():
    torch.manual_seed(0)
    network = ReluMlp([nn.Linear(64, 80), nn.Linear(80, 40), nn.Linear(40, 3)]).requires_grad_(False)
    for module in (network, as_modules(network)):
        target = target_of(module, (1, 8, 8))
        found = survey(target, DECAY, "auto")
        assert found.objectives == () and found.n_images is None
        assert "no trace of training" in found.reasons[0]
        assert found.reasons[1] == "No reconstruction attack applies."
        built = build_searches(target, found, knowledge((1, 8, 8)), None, torch.float32, torch.device("cpu"))
        assert built.equation is None and built.feature_span is None


def test_a_convolutional_network_is_left_to_the_feature_span(convolutional):
    found = survey(convolutional.target, DECAY, "auto")
    assert found.objectives == ("feature_span",)
    assert any("needs a ReLU chain" in reason for reason in found.reasons)
    built = searches_for(convolutional, found)
    assert built.equation is None and built.feature_span is not None and built.feature_span.space.decoder is None


def test_the_slow_equation_runs_only_where_nothing_faster_applies():
    """All convolutions: no linear layer, so neither a span nor features."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 6), nn.Flatten()).requires_grad_(False)
    target = target_of(network, (1, 8, 8))
    found = survey(target, DECAY, "auto")
    assert found.objectives == ("general_loss",) and found.sites == ()
    assert any("--time-limit" in reason for reason in found.reasons)
    built = build_searches(target, found, knowledge((1, 8, 8)), 9, torch.float32, torch.device("cpu"))
    assert isinstance(built.equation, ModuleEquation) and built.feature_span is None
    assert built.equation.n_candidates == 9


def test_a_module_whose_only_linear_layer_sees_the_inputs_is_searched_inside_its_span(trained):
    first = trained.network.linear_layers()[0]
    network = nn.Sequential(nn.Flatten(), first, nn.Tanh())
    target = target_of(network, (1, 8, 8), 80)
    found = survey(target, DECAY, "auto")
    assert found.objectives == ("general_loss",)
    built = build_searches(target, found, trained.knowledge, None, torch.float32, torch.device("cpu"))
    assert isinstance(built.equation, ModuleEquation) and built.equation.space.rank == found.search_rank


def test_a_network_that_torch_cannot_differentiate_both_ways_is_told_so():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 8)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return Once.apply(self.conv(inputs).flatten(1))

    found = survey(target_of(Net(), (1, 8, 8)), DECAY, "auto")
    assert found.objectives == () and not found.can_solve_equation
    assert any("cannot differentiate" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("task", "n_outputs", "metadata", "expected"),
    [
        ("auto", 1, {"loss": "bce", "weight_decay": "0"}, "binary_margin"),
        ("auto", 1, {"loss": "bce", "weight_decay": "1e-3"}, "general_loss"),
        ("auto", 1, {"loss": "mse", "weight_decay": "0"}, "general_loss"),
        ("auto", 1, {"loss": "bce"}, "general_loss"),
        ("auto", 10, {"loss": "cross_entropy", "weight_decay": "0"}, "multiclass_margin"),
        ("auto", 10, DECAY, "general_loss"),
        ("auto", 10, {"loss": "cross_entropy", "weight_decay": "unknown"}, "general_loss"),
        ("auto", 10, {}, "general_loss"),
        ("binary", 1, DECAY, "binary_margin"),
        ("multiclass", 10, {}, "multiclass_margin"),
        ("regression", 1, {"loss": "bce", "weight_decay": "0"}, "general_loss"),
    ],
)
def test_the_equation_follows_task_outputs_and_metadata(task, n_outputs, metadata, expected):
    name, why = choose_equation(task, n_outputs, metadata)
    assert name == expected
    assert why.endswith(".") and (task == "auto" or f"--task {task}" in why)


def test_homogeneity_is_exact_without_later_biases_and_broken_by_them():
    assert homogeneity_error(target_of(mlp(biases=(False,) * 3))) < 1e-6
    assert homogeneity_error(target_of(mlp(biases=(True, False, False)))) < 1e-6
    assert homogeneity_error(target_of(mlp(biases=(True,) * 3))) > 1e-3
    network = mlp()
    before = [parameter.clone() for parameter in network.parameters()]
    homogeneity_error(target_of(network))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_training_images_explain_the_first_layer_and_others_do_not(trained):
    site = linear_sites(trained.target)[0]
    n = len(trained.members)
    own, other = explained_by(site, trained.members), explained_by(site, trained.controls[:n])
    assert own > 0.99 and 0 < other < 0.8
    assert explained_by(site, trained.controls.repeat(2, 1, 1, 1)) is None


def test_layers_behind_convolutions_are_found_without_their_inputs():
    found = survey(target_of(convnet(), (1, 8, 8)), {}, "auto")
    assert [site.sees_inputs for site in found.sites] == [False]


@pytest.mark.parametrize(("task", "n_outputs"), [("multiclass", 1), ("binary", 10)])
def test_a_task_that_contradicts_the_number_of_outputs_is_refused(task, n_outputs):
    with pytest.raises(ConfigError, match=f"--task {task}, found {n_outputs}"):
        choose_equation(task, n_outputs, {})


def test_binary_cross_entropy_with_many_outputs_is_no_softmax():
    assert choose_equation("auto", 10, {"loss": "binary_cross_entropy", "weight_decay": "0"})[0] == "general_loss"
    assert choose_equation("auto", 10, {"loss": "cross_entropy", "weight_decay": "0"})[0] == "multiclass_margin"
