"""One loop against problems with known answers, and every way it can end."""

import time

import pytest
import torch
from torch import Tensor

from privaudit.objectives.interface import AbstractObjective, Variables
from privaudit.solver import SolverSettings, Status, minimise


class Quadratic(AbstractObjective):
    """(R,) sums of `(x − answer)²`; whatever else happens is asked for by the test."""

    name = "quadratic"
    learning_rates = {"x": 0.1}

    def __init__(self, broken: int | None = None, interrupt_at: int | None = None, slow_s: float = 0.0) -> None:
        self.answer = torch.tensor([[1.0, -2.0], [3.0, 0.5], [0.0, 7.0]])
        self.broken, self.interrupt_at, self.slow_s = broken, interrupt_at, slow_s
        self.shares: list[float] = []

    def start(self, n_restarts: int, generator: torch.Generator) -> Variables:
        return {"x": torch.zeros(3, 2), "fixed": torch.ones(3, 1)}

    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        self.shares.append(share_done)
        if step == self.interrupt_at:
            raise KeyboardInterrupt
        time.sleep(self.slow_s)
        loss = ((variables["x"] - self.answer) ** 2).sum(1)
        if self.broken is not None and step >= 5:
            loss = loss * torch.where(torch.arange(3) == self.broken, torch.nan, 1.0)
        return loss

    def inputs(self, variables: Variables) -> Tensor:
        return variables["x"]

    def multipliers(self, variables: Variables) -> Tensor | None:
        return None

    def placebo(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(n, 2)

    def project(self, variables: Variables, share_done: float) -> None:
        variables["x"].clamp_(max=5.0)


def run(objective: Quadratic, n_steps: int = 400, **options):
    start = objective.start(3, torch.Generator())
    return start, minimise(objective, start, SolverSettings(n_steps), **options)


def test_it_finds_a_known_minimum_inside_the_constraint():
    objective = Quadratic()
    start, outcome = run(objective)
    assert outcome.status == (Status.FINISHED,) * 3
    assert outcome.n_steps == 400
    torch.testing.assert_close(outcome.variables["x"][:2], objective.answer[:2], rtol=0, atol=1e-3)
    assert float(outcome.variables["x"][2, 1]) == pytest.approx(5, abs=0.05)  # projected before, not after, a step
    assert float(outcome.loss[2]) == pytest.approx(4, abs=0.2)
    assert torch.equal(start["x"], torch.zeros(3, 2)) and not start["x"].requires_grad
    assert torch.equal(outcome.variables["fixed"], start["fixed"])
    assert not any(value.requires_grad for value in (*outcome.variables.values(), outcome.loss))
    assert objective.shares == [step / 400 for step in range(400)]


def test_the_rate_warms_up_and_falls():
    settings = SolverSettings(1000, warm_up=10, final_share=0.02)
    rates = [settings.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert max(rates) == rates[9] and rates[9] > 0.99
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, rel=0.01)


def test_nothing_runs_far_past_the_deadline():
    objective = Quadratic(slow_s=0.02)
    begun = time.monotonic()
    _, outcome = run(objective, deadline=begun + 0.1)
    assert outcome.status == (Status.BUDGET_EXHAUSTED,) * 3
    assert time.monotonic() - begun < 0.3  # steps of 0.02 s: far less than the twenty between two reports
    assert 1 <= outcome.n_steps == len(objective.shares) < 20
    assert bool(outcome.loss.isfinite().all())
    assert run(Quadratic(), deadline=begun - 1)[1].n_steps == 1


@pytest.mark.parametrize("broken", [0, 2])
def test_a_non_finite_restart_is_a_status_of_that_restart_only(broken):
    _, outcome = run(Quadratic(broken=broken))
    others = [i for i in range(2) if i != broken]
    expected = [Status.FINISHED] * 3
    expected[broken] = Status.NON_FINITE
    assert outcome.status == tuple(expected)
    for index in others:
        torch.testing.assert_close(outcome.variables["x"][index], Quadratic().answer[index], rtol=0, atol=1e-3)


@pytest.mark.parametrize("step", [0, 1, 40])
def test_an_interrupt_keeps_what_was_reached(step):
    _, outcome = run(Quadratic(interrupt_at=step))
    assert outcome.is_interrupted
    assert outcome.status == (Status.INTERRUPTED,) * 3  # one a restart, also before the first loss is known
    assert outcome.n_steps == step
    assert bool(outcome.loss.isfinite().all()) == (step > 0)
    moved = float((outcome.variables["x"]).norm())
    assert (moved > 0) == (step > 0)
    if step == 40:
        assert float(outcome.loss[0]) < 5


def test_an_interrupt_is_told_also_where_a_restart_is_not_finite():
    _, outcome = run(Quadratic(broken=1, interrupt_at=30))
    assert outcome.is_interrupted and set(outcome.status) == {Status.INTERRUPTED}
    assert bool(outcome.loss[1].isnan())


def test_progress_is_reported_now_and_then():
    told: list[tuple[float, float]] = []
    run(Quadratic(), on_progress=lambda share, loss: told.append((share, loss)))
    assert [share for share, _ in told] == [*(step / 400 for step in range(0, 400, 20)), 1]
    assert told[-1][1] < told[0][1]


def test_an_interrupt_while_progress_is_told_counts_too():
    def stop(share: float, loss: float) -> None:
        raise KeyboardInterrupt

    _, outcome = run(Quadratic(), on_progress=stop)
    assert outcome.is_interrupted and outcome.n_steps == 1
