"""Rounds, agreement, what is handed on, and what an interrupt or a deadline leaves."""

import time

import pytest
import torch
from attack_problems import as_modules, knowledge, mlp, span_space, target_of

from privaudit.attack_types import Searches
from privaudit.budget import Plan, plan_for
from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.progress import SilentListener, TrialProgress
from privaudit.spans import linear_sites
from privaudit.trials import attack

SHAPE = (1, 5, 4)
RANK = 20  # few dimensions would make strangers alike
PLAN = Plan(rounds=3, restarts=4, steps=60, span_starts=12, span_steps=25, time_limit_s=None)


class Planted(AbstractEquation):
    """Candidates are pulled to the nearest of `n_true` images that are the same for every restart.

    With `n_true=0` each candidate is pulled to an image of its own: restarts never meet.
    """

    name = "general_loss"
    learning_rates = {"coordinates": 0.3}
    n_candidates = 6

    def __init__(self, n_true: int, stop_in_round: int | None = None, broken: bool = False) -> None:
        self.space = span_space(RANK)
        self.images = 2 * torch.randn(n_true, RANK, generator=torch.Generator().manual_seed(50))
        self.stop_in_round, self.broken, self.rounds = stop_in_round, broken, 0
        self.warm: list[int] = []

    def start(self, n_restarts, generator):
        self.rounds += 1
        drawn = torch.randn(n_restarts, self.n_candidates, RANK, generator=generator)
        own = 2 * torch.randn(n_restarts, self.n_candidates, RANK, generator=generator)
        for place, image in enumerate(self.images):
            own[:, place] = image
        return {"coordinates": drawn, "goal": own, "unit": torch.ones(n_restarts, 1, 1)}

    def loss(self, variables, step, share_done):
        if self.stop_in_round == self.rounds and step == 3:
            raise KeyboardInterrupt
        loss = ((variables["coordinates"] - variables["goal"]) ** 2).sum((1, 2))
        return loss * torch.nan if self.broken else loss

    def warm_start(self, variables, coordinates, multipliers):
        self.warm.append(len(coordinates))
        variables["coordinates"][:, : len(coordinates)] = coordinates

    def inputs(self, variables):
        return self.space.inputs(variables["coordinates"])

    def multipliers(self, variables):
        return torch.ones(*variables["coordinates"].shape[:2], 3)

    def placebo(self, n, generator):
        return self.space.inputs(self.space.draw(n, generator))

    def residual(self, variables):
        loss = ((variables["coordinates"] - variables["goal"]) ** 2).sum((1, 2))
        return loss, 1 - loss


def feature_span() -> FeatureSpan:
    return FeatureSpan(linear_sites(target_of(as_modules(mlp())))[1], 3, span_space(RANK), knowledge(), 6)


def searches(equation, span=None, n_images: int = 6) -> Searches:
    return Searches(equation, span, n_images, 3, knowledge())


def run(found: Searches, plan: Plan = PLAN, seed: int = 0, listener=None):
    return attack(found, plan, seed, listener or SilentListener())


def test_planted_agreement_is_found_warms_the_next_round_and_is_trusted_most():
    equation = Planted(4)
    outcome = run(searches(equation))
    assert equation.rounds == 3 and equation.warm == [4, 4]
    found = outcome.reconstructions
    truth = equation.space.inputs(equation.images)
    best = found.pixels[:4].flatten(1)
    distance = torch.cdist(knowledge().pixels(truth).flatten(1), best).min(1).values
    assert float(distance.max()) < 0.5
    assert found.confidence[:4].tolist() == [1.0] * 4 and float(found.confidence[4:].max()) < 1
    assert found.restart.min() >= 8  # of the last round: restarts are counted over the whole attack
    (summary,) = outcome.runs
    assert (summary.restarts, summary.steps, summary.status) == (12, 720, "finished")
    assert summary.reconstructions == len(found) and summary.loss is not None
    assert len(outcome.history) == 3 and torch.equal(outcome.history[-1].pixels, found.pixels)
    assert not outcome.is_interrupted


def test_where_restarts_never_meet_the_feature_span_carries_on_with_all_it_found():
    equation = Planted(0)
    outcome = run(searches(equation, feature_span()))
    assert equation.rounds == 1 and equation.warm == []
    assert [run.objective for run in outcome.runs] == ["general_loss", "feature_span"]
    found = outcome.reconstructions
    assert found.objectives == ("general_loss", "feature_span")
    n_span = int((found.objective == 1).sum())
    assert n_span >= 6  # every distinct start, also what only one found
    assert len(found) == n_span + int((found.objective == 0).sum()) == sum(run.reconstructions for run in outcome.runs)
    assert found.multipliers.shape == (len(found), 3)
    assert float(found.multipliers[found.objective == 1].abs().max()) == 0


def test_where_restarts_agree_the_feature_span_adds_only_what_recurs():
    agreed = run(searches(Planted(4), feature_span())).reconstructions
    alone = run(searches(None, feature_span())).reconstructions
    from_span = agreed.pixels[agreed.objective == 1] if len(agreed.objectives) > 1 else agreed.pixels[:0]
    assert len(from_span) < len(alone)


def test_the_seed_decides_everything():
    one, same, other = (run(searches(Planted(2), feature_span()), seed=seed) for seed in (5, 5, 6))
    assert torch.equal(one.reconstructions.pixels, same.reconstructions.pixels)
    assert torch.equal(one.reconstructions.restart, same.reconstructions.restart)
    one_pixels, other_pixels = one.reconstructions.pixels, other.reconstructions.pixels
    assert one_pixels.shape != other_pixels.shape or not torch.equal(one_pixels, other_pixels)


@pytest.mark.parametrize("stop_in_round", [1, 2, 3])
def test_an_interrupt_keeps_the_round_that_was_finished(stop_in_round):
    equation = Planted(4, stop_in_round)
    outcome = run(searches(equation, feature_span()))
    assert outcome.is_interrupted and equation.rounds == stop_in_round
    assert outcome.runs[0].status == "interrupted"
    assert [run.objective for run in outcome.runs] == ["general_loss"]  # nothing begins after an interrupt
    assert len(outcome.reconstructions) > 0
    if stop_in_round > 1:  # what the finished rounds agreed on is still there
        truth = knowledge().pixels(equation.space.inputs(equation.images)).flatten(1)
        distance = torch.cdist(truth, outcome.reconstructions.pixels.flatten(1)).min(1).values
        assert float(distance.max()) < 1.5  # strangers are 6 apart
    else:
        assert outcome.reconstructions.restart.max() < 4


def test_an_interrupt_in_the_very_first_step_stops_the_attack():
    class Impatient(Planted):
        def loss(self, variables, step, share_done):
            raise KeyboardInterrupt

    equation = Impatient(4)
    outcome = run(searches(equation, feature_span()))
    assert outcome.is_interrupted and equation.rounds == 1 and len(outcome.runs) == 1


def test_nothing_begins_after_the_time_limit():
    equation = Planted(4)
    begun = time.monotonic()
    outcome = run(searches(equation, feature_span()), Plan(50, 4, 10_000, 12, 10_000, 0.2))
    assert time.monotonic() - begun < 3
    assert [run.status for run in outcome.runs] == ["budget_exhausted"] and equation.rounds == 1
    assert not outcome.is_interrupted and len(outcome.reconstructions) > 0


def test_restarts_that_are_not_finite_hand_on_nothing():
    outcome = run(searches(Planted(4, broken=True)))
    assert len(outcome.reconstructions) == 0 and outcome.reconstructions.pixels.shape == (0, *SHAPE)
    (summary,) = outcome.runs
    assert summary.status == "non_finite" and summary.reconstructions == 0


def test_nothing_to_search_is_no_error():
    outcome = run(searches(None))
    assert len(outcome.reconstructions) == 0 and outcome.runs == () and outcome.history == ()


def test_progress_counts_restarts_and_never_goes_back():
    told: list[TrialProgress] = []

    class Listener(SilentListener):
        def trial(self, progress: TrialProgress) -> None:
            told.append(progress)

    run(searches(Planted(4), feature_span()), listener=Listener())
    for name, total in (("general_loss", 12), ("feature_span", 2)):
        own = [progress for progress in told if progress.objective == name]
        assert [progress.done for progress in own] == sorted(progress.done for progress in own)
        assert {progress.restarts_total for progress in own} == {total}
        assert all(0 <= progress.restarts_done <= total for progress in own)
        assert (own[-1].done, own[-1].restarts_done) == (1, total)


def test_plans_grow_with_the_budget_and_the_problem():
    quick, standard, thorough = (plan_for(name, 50, None, None) for name in ("quick", "standard", "thorough"))
    assert quick.rounds < standard.rounds < thorough.rounds
    assert quick.span_starts < standard.span_starts < thorough.span_starts
    assert plan_for("standard", 500, 3, 7.0).span_starts > standard.span_starts
    assert (plan_for("standard", 500, 3, 7.0).restarts, plan_for("standard", 5, 3, 7.0).time_limit_s) == (3, 7.0)
