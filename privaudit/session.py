"""One attack under way: its clock, its random streams, what is finished. Must not know training images."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from privaudit.attack_types import RunSummary, Searches, Snapshot
from privaudit.budget import Plan
from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.interface import AbstractObjective, Variables
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.progress import ProgressListener, TrialProgress
from privaudit.reconstructions import Reconstructions
from privaudit.solver import Outcome, SolverSettings, minimise, worst_status
from privaudit.trial_store import SavedTrials

_TELLING_SHARE = 0.02  # of the work; before it an estimate of the time left means nothing


@dataclass
class Session:
    """State of one attack.

    Attributes:
        searches: what is attacked with what; `plan` how much.
        seed: of every random stream.
        listener: told about progress.
        finished: work that a resumed attack need not repeat; `on_finished` is told when there is more.
        begun: value of `time.monotonic()` at which the attack would have begun in one piece.
        parts: what each objective hands on, also from rounds that were cut short.
    """

    searches: Searches
    plan: Plan
    seed: int
    listener: ProgressListener
    finished: SavedTrials
    on_finished: Callable[[SavedTrials], None]
    begun: float = field(init=False)
    parts: dict[str, Reconstructions] = field(init=False)
    runs: list[RunSummary] = field(init=False)
    history: list[Snapshot] = field(default_factory=list)
    is_interrupted: bool = False

    def __post_init__(self) -> None:
        self.begun = time.monotonic() - self.finished.seconds
        self.parts, self.runs = dict(self.finished.parts), list(self.finished.runs)

    @property
    def elapsed(self) -> float:
        """Seconds of attack, without the time between an interrupt and its resumption."""
        return time.monotonic() - self.begun

    @property
    def deadline(self) -> float:
        """On the monotonic clock."""
        return math.inf if self.plan.time_limit_s is None else self.begun + self.plan.time_limit_s

    @property
    def is_over(self) -> bool:
        """Nothing further may begin."""
        return self.is_interrupted or time.monotonic() > self.deadline

    def generator(self, *stream: int) -> torch.Generator:
        """A stream of random numbers of its own for every round, so that a resumed attack draws the same."""
        mixed = self.seed
        for number in stream:
            mixed = (mixed * 1_000_003 + number + 1) % (2**63)
        return torch.Generator().manual_seed(mixed)

    def pixels(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) network inputs to float32 pixels on the CPU."""
        return self.searches.knowledge.pixels(inputs.cpu()).float()

    def hand_on(self, name: str, part: Reconstructions) -> None:
        """Replace what an objective contributes."""
        self.parts[name] = part
        self.history.append(Snapshot(self.elapsed, torch.cat([part.pixels for part in self.parts.values()])))

    def finish(self, **changes: object) -> None:
        """Note finished work, unless what led to it was cut short."""
        if not self.is_over:
            self.finished = replace(
                self.finished,
                parts=dict(self.parts),
                runs=tuple(self.runs),
                seconds=self.elapsed,
                **changes,  # type: ignore[arg-type]
            )
            self.on_finished(self.finished)

    def summary(
        self,
        equation: AbstractEquation | TiedEquation,
        outcome: Outcome,
        n_restarts: int,
        n_steps: int,
        begun: float = 0.0,
    ) -> RunSummary:
        """What an equation did, all restarts and their steps together; `begun`: when, on the clock of `elapsed`."""
        loss, explained = equation.residual(outcome.variables)
        best = int(loss.nan_to_num(math.inf).argmin())
        is_finite = bool(loss[best].isfinite())
        part = self.parts.get(equation.name)
        return RunSummary(
            equation.name,
            worst_status(outcome.status),
            n_restarts,
            n_steps,
            equation.n_candidates,
            0 if part is None else len(part),
            self.elapsed - begun,
            float(loss[best]) if is_finite else None,
            float(explained[best]) if is_finite else None,
        )

    def run(
        self,
        objective: AbstractObjective,
        n_restarts: int,
        n_steps: int,
        generator: torch.Generator,
        start: tuple[Tensor, Tensor] | None,
        done: tuple[int, int],
    ) -> Outcome:
        """One batch of restarts from random starts, or where `start` says; `done`: batches behind, of how many."""
        variables = objective.start(n_restarts, generator)
        if start is not None and isinstance(objective, AbstractEquation):
            objective.warm_start(variables, *start)
        return self.minimise(objective, variables, n_steps, done)

    def minimise(
        self, objective: AbstractObjective, variables: Variables, n_steps: int, done: tuple[int, int]
    ) -> Outcome:
        """One batch of restarts from `variables`."""
        n_restarts = len(variables["coordinates"])
        begun = time.monotonic()

        def tell(share: float, loss: float) -> None:
            spent, left = time.monotonic() - begun, math.inf
            if share > _TELLING_SHARE:
                left = spent / share * (done[1] - done[0]) - spent
            left = min(left, max(self.deadline - time.monotonic(), 0.0))
            overall = (done[0] + share) / done[1]
            behind, planned = int(done[0] + share) * n_restarts, done[1] * n_restarts
            self.listener.trial(TrialProgress(objective.name, overall, loss, behind, planned, left))

        outcome = minimise(objective, variables, SolverSettings(n_steps), deadline=self.deadline, on_progress=tell)
        self.is_interrupted |= outcome.is_interrupted
        return outcome
