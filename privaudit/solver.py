"""One loop that minimises any objective over restarts side by side.

Settings in, variables and a named status per restart out. Nothing in the loop waits for the device: losses are read
only where progress is reported. Must not know training images.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from privaudit.objectives.interface import AbstractObjective, Variables

_REPORT_EVERY = 20


class Status(Enum):
    """How one restart ended."""

    FINISHED = "finished"
    BUDGET_EXHAUSTED = "budget_exhausted"
    NON_FINITE = "non_finite"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class SolverSettings:
    """Adam with warm-up and a cosine schedule (METHOD 3).

    Attributes:
        n_steps: planned steps.
        warm_up: steps over which the learning rate grows to its full size.
        final_share: of the learning rate at the last step.
        betas: of Adam; the second is short because a step's scale changes by orders of magnitude within a run.
    """

    n_steps: int
    warm_up: int = 30
    final_share: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)

    def rate(self, step: int) -> float:
        """Share of the full learning rate at a step."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
        return (self.final_share + (1 - self.final_share) * cosine) * min(1.0, (step + 1) / self.warm_up)


@dataclass(frozen=True)
class Outcome:
    """What a minimisation left.

    Attributes:
        variables: at the last step, detached.
        loss: (R,) at the last step evaluated.
        status: one a restart.
        n_steps: done.
    """

    variables: Variables
    loss: Tensor
    status: tuple[Status, ...]
    n_steps: int

    @property
    def is_interrupted(self) -> bool:
        """The user asked to stop."""
        return Status.INTERRUPTED in self.status


def minimise(
    objective: AbstractObjective,
    start: Variables,
    settings: SolverSettings,
    *,
    deadline: float = math.inf,
    on_progress: Callable[[float, float], None] | None = None,
) -> Outcome:
    """Run Adam from `start`.

    Args:
        objective: what to minimise.
        start: its variables; not changed.
        settings: schedule.
        deadline: value of `time.monotonic()` after which no further step begins.
        on_progress: called with (share done, mean loss) now and then.

    Returns:
        Also after an interrupt (Ctrl-C) or at the deadline, with what has been reached.
    """
    variables = {name: value.detach().clone() for name, value in start.items()}
    groups = [
        {"params": [variables[name].requires_grad_()], "lr": rate, "full": rate}
        for name, rate in objective.learning_rates.items()
    ]
    adam = torch.optim.Adam(groups, betas=settings.betas, foreach=True)
    n_restarts = len(next(iter(variables.values())))
    loss, done, stopped = torch.full((n_restarts,), math.inf), 0, Status.FINISHED
    try:
        for step in range(settings.n_steps):
            loss = _step(objective, variables, adam, settings, step)
            done = step + 1
            if step % _REPORT_EVERY == 0 and on_progress is not None:
                on_progress(step / settings.n_steps, float(loss.mean()))
            if time.monotonic() > deadline:
                stopped = Status.BUDGET_EXHAUSTED
                break
        if on_progress is not None and stopped is Status.FINISHED:
            on_progress(1.0, float(loss.mean()))
    except KeyboardInterrupt:
        stopped = Status.INTERRUPTED
    return Outcome({name: value.detach() for name, value in variables.items()}, loss, _status(loss, stopped), done)


def _status(loss: Tensor, stopped: Status) -> tuple[Status, ...]:
    """An interrupt is always told, also where the loss is not finite: nothing may go on after it."""
    if stopped is Status.INTERRUPTED:
        return (stopped,) * len(loss)
    return tuple(stopped if is_finite else Status.NON_FINITE for is_finite in loss.isfinite().tolist())


def _step(
    objective: AbstractObjective,
    variables: Variables,
    adam: torch.optim.Adam,
    settings: SolverSettings,
    step: int,
) -> Tensor:
    share_done = step / settings.n_steps
    with torch.no_grad():
        objective.project(variables, share_done)
    for group in adam.param_groups:
        group["lr"] = group["full"] * settings.rate(step)
    adam.zero_grad(set_to_none=True)
    loss = objective.backward(variables, step, share_done)
    adam.step()
    return loss


def worst_status(status: tuple[Status, ...]) -> str:
    """The name of the worst of several."""
    for candidate in (Status.INTERRUPTED, Status.BUDGET_EXHAUSTED, Status.NON_FINITE):
        if candidate in status:
            return str(candidate.value)
    return str(Status.FINISHED.value)
