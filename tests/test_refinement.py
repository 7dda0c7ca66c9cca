"""Stages of refinement: what a restart keeps, what it takes over, what is handed on, and what the metadata must say."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from attack_problems import trained_problem
from test_trials import PLAN, Planted, run, searches

from privaudit.attack_types import Searches
from privaudit.budget import Plan, plan_for
from privaudit.objectives.column_span import ColumnSpan
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.loss_ties import LOSS_TIES
from privaudit.objectives.span_equation import SpanEquation
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.preflight import stationarity_of
from privaudit.progress import SilentListener
from privaudit.refinement import best_restarts, next_stage
from privaudit.spans import linear_sites, smooth_span
from privaudit.trial_store import SavedTrials, fingerprint, read_trials, save_trials
from privaudit.trials import attack

REFINED = Plan(2, 4, 150, 0, 0, None, refined_restarts=3, refined_stages=2, refined_steps=60)


def finished_when(is_time: Callable[[SavedTrials], bool], found: Searches, plan: Plan, folder: Path) -> SavedTrials:
    """What an attack that was killed then left on disk."""
    path, mark = folder / "trials", fingerprint(1)

    class Killed(BaseException):
        pass

    def save_and_die(saved: SavedTrials) -> None:
        save_trials(path, saved, mark)
        if is_time(saved):
            raise Killed

    with pytest.raises(Killed):
        attack(found, plan, 0, SilentListener(), None, save_and_die)
    finished = read_trials(path, mark)
    assert finished is not None
    return finished


@pytest.fixture(scope="module")
def problem():
    found = trained_problem()
    space = smooth_span(found.network.linear_layers()[0].weight, 7, found.target, found.knowledge.std)
    equation = SpanEquation("general_loss", found.network, space, found.knowledge, 10)
    tie = LOSS_TIES["cross_entropy"]
    tied = TiedEquation(found.network, space, found.knowledge, tie, -math.log(8 * 0.005), 10)
    return Searches(equation, None, 8, 3, found.knowledge, tied)


def test_refined_images_replace_those_of_the_plain_equation(problem):
    outcome = attack(problem, REFINED, 0, SilentListener())
    assert outcome.reconstructions.objectives == ("tied_equation",)
    assert [run.objective for run in outcome.runs] == ["general_loss", "tied_equation"]
    assert outcome.runs[1].steps == 3 * 2 * 60 and outcome.runs[1].status == "finished"
    confidence = outcome.reconstructions.confidence
    assert float(confidence.min()) >= 0 and float(confidence.max()) <= 1
    assert torch.equal(confidence, confidence.sort(descending=True).values)


def test_a_refinement_that_is_cut_short_keeps_what_the_rounds_found(problem):
    plan = Plan(2, 4, 60, 0, 0, 3.0, refined_restarts=3, refined_stages=2, refined_steps=1_000_000)
    outcome = attack(problem, plan, 0, SilentListener())
    assert outcome.reconstructions.objectives == ("general_loss",)
    assert outcome.runs[-1].status == "budget_exhausted"


def test_resumed_after_the_rounds_ends_as_uninterrupted(problem, tmp_path):
    finished = finished_when(lambda saved: saved.is_equation_done, problem, REFINED, tmp_path)
    assert finished.best is not None and not finished.is_refined
    whole, resumed = (attack(problem, REFINED, 0, SilentListener(), each) for each in (None, finished))
    assert torch.equal(whole.reconstructions.pixels, resumed.reconstructions.pixels)


def test_without_a_tie_nothing_is_refined():
    outcome = run(searches(Planted(4)), PLAN)
    assert "tied_equation" not in outcome.reconstructions.objectives


def test_the_next_stage_drops_repeats_and_takes_over_what_two_others_share(problem):
    tied = problem.tied
    variables = tied.start(3, torch.Generator().manual_seed(0))
    shared = variables["coordinates"][1, 0].clone()
    variables["coordinates"][2, 0] = shared
    variables["labels"][2, 0] = variables["labels"][1, 0]
    variables["coordinates"][0, 1:] = variables["coordinates"][0, 0]  # one image ten times
    variables["labels"][0, 1:] = variables["labels"][0, 0]
    outputs = tied._outputs(variables["coordinates"])
    variables["log_sizes"] = tied._log_scale + LOSS_TIES["cross_entropy"].log_size(outputs, variables["labels"])
    after = next_stage(tied, variables, torch.Generator().manual_seed(1))
    same = (after["coordinates"][0] - shared).norm(dim=1) < 1e-6
    assert int(same.sum()) == 1
    own = (after["coordinates"][0] - variables["coordinates"][0, 0]).norm(dim=1) < 1e-6
    assert int(own.sum()) == 1


def test_a_candidate_that_contradicts_the_loss_is_dropped(problem):
    tied = problem.tied
    variables = tied.start(1, torch.Generator().manual_seed(0))
    variables["log_sizes"][:] = tied._log_scale + 9.0
    after = next_stage(tied, variables, torch.Generator().manual_seed(1))
    assert not (torch.cdist(after["coordinates"][0], variables["coordinates"][0]) < 1e-6).any()


def test_best_restarts_are_those_of_least_loss():
    coordinates, multipliers = torch.arange(3.0).view(3, 1, 1), torch.zeros(3, 1, 2)
    chosen, _ = best_restarts(coordinates, multipliers, torch.tensor([0.5, math.nan, 0.1]), 2)
    assert chosen.flatten().tolist() == [2, 0]


@pytest.mark.parametrize(
    ("loss", "decay", "n_outputs", "expected"),
    [
        ("cross_entropy (mean)", "0.001", 10, ("cross_entropy", 0.001)),
        ("mse (mean) on labels -1 and +1", "0.01", 1, ("squared", 0.01)),
        ("logistic", "0.01", 1, ("logistic", 0.01)),
        ("cross_entropy", "0", 10, None),
        ("cross_entropy", "nan", 10, None),
        ("cross_entropy", "much", 10, None),
        ("cross_entropy (sum)", "0.001", 10, None),
        ("mse", "0.01", 1, None),
        ("mse on labels -1 and +1", "0.01", 3, None),
        ("", "0.01", 10, None),
    ],
)
def test_multipliers_are_tied_only_where_the_metadata_say_enough(loss, decay, n_outputs, expected):
    found = stationarity_of({"loss": loss, "weight_decay": decay}, n_outputs)
    assert (None if found is None else (found.loss, found.weight_decay)) == expected


@pytest.fixture(scope="module")
def proposing(problem):
    """Restarts that never agree, so that the feature span carries the attack."""
    target = trained_problem().target
    site = linear_sites(target)[1]
    span = FeatureSpan(site, 8, problem.tied.space, problem.knowledge, 12)
    return Searches(
        None,
        span,
        8,
        3,
        problem.knowledge,
        problem.tied,
        ColumnSpan(target.module, 7, span.placebo(50, torch.Generator())),
    )


PROPOSED = Plan(1, 2, 10, 24, 40, None, proposed_steps=60)


def test_what_single_searches_propose_is_refined_and_both_are_handed_on(proposing):
    outcome = attack(proposing, PROPOSED, 0, SilentListener())
    assert outcome.reconstructions.objectives == ("feature_span", "tied_equation")
    assert [run.objective for run in outcome.runs] == ["feature_span", "tied_equation"]
    assert outcome.runs[1].steps == 60 and outcome.runs[1].status == "finished"
    confidence = outcome.reconstructions.confidence
    assert float(confidence.min()) >= 0 and float(confidence.max()) <= 1
    # Surest is whose gates fit best.
    known = proposing.knowledge
    inputs = (outcome.reconstructions.pixels - known.mean) / known.std
    order = confidence.argsort(stable=True)
    outside = proposing.judge.outside(inputs)[order][confidence[order] > 0]
    assert len(outside) > 3 and torch.equal(outside.argsort(descending=True), torch.arange(len(outside)))


def test_proposals_begin_where_the_searches_ended(proposing):
    tied = proposing.tied.with_proposals(0.1, 12)
    assert tied._band == (0.1, proposing.tied._band[1]) and proposing.tied._band[0] == 1.0
    assert (tied.n_candidates, proposing.tied.n_candidates) == (12, 10)
    variables = tied.start(2, torch.Generator().manual_seed(0))
    images = tied.space.draw(3, torch.Generator().manual_seed(5))
    tied.take_images(variables, tied.space.coordinates(tied.space.inputs(images)))
    for restart in range(2):
        taken = torch.nn.functional.normalize(variables["coordinates"][restart, :3], dim=-1)
        torch.testing.assert_close(taken, torch.nn.functional.normalize(images, dim=-1), rtol=1e-3, atol=1e-4)
    assert float(variables["log_sizes"][:, 3:].max()) < float(variables["log_sizes"][:, :3].median())


def test_a_run_from_proposals_that_is_cut_short_leaves_the_searches_as_they_were(proposing):
    plan = Plan(1, 2, 10, 12, 20, 2.0, proposed_steps=10_000_000)
    outcome = attack(proposing, plan, 0, SilentListener())
    assert outcome.reconstructions.objectives == ("feature_span",)
    assert outcome.runs[-1].objective == "tied_equation" and outcome.runs[-1].status == "budget_exhausted"


def test_a_quick_budget_takes_no_proposals(proposing):
    plan = plan_for("quick", 500, None, None)
    assert plan.proposed_steps == 0 and plan_for("standard", 500, None, None).proposed_steps > 0
    outcome = attack(proposing, Plan(1, 2, 10, 12, 20, None, proposed_steps=0), 0, SilentListener())
    assert [run.objective for run in outcome.runs] == ["feature_span"]


def test_resumed_after_the_searches_ends_as_uninterrupted(proposing, tmp_path):
    finished = finished_when(lambda saved: saved.chunks == 2, proposing, PROPOSED, tmp_path)
    resumed = attack(proposing, PROPOSED, 0, SilentListener(), finished)
    whole = attack(proposing, PROPOSED, 0, SilentListener())
    torch.testing.assert_close(resumed.reconstructions.pixels, whole.reconstructions.pixels, rtol=0, atol=0)
