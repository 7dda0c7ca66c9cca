"""Rounds of restarts, what they agree on, and what is handed on.

In: searches built from a network, a plan of work, a seed. Out: reconstructions with a summary of every run. Must not
know training images: settings, stopping and selection use the loss, agreement between restarts and the network alone.
"""

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from privaudit.agreement import Agreement, agreement, without_repeats
from privaudit.budget import Plan
from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.interface import AbstractObjective, AttackerKnowledge
from privaudit.progress import ProgressListener, TrialProgress
from privaudit.reconstructions import Reconstructions, united
from privaudit.solver import Outcome, SolverSettings, Status, minimise

_AGREEMENT_FLOOR = (
    0.1  # of the images: with less in common after the first round restarts never met (METHOD 3d, n = 500)
)
_REPEAT = 0.9  # candidates more alike than this are handed on once
_PROBE_RESTARTS = 2  # of a problem too large for all restarts at once: two suffice to see whether anything recurs
_CANDIDATES_AT_ONCE = 1000


@dataclass(frozen=True)
class Searches:
    """What is attacked with what.

    Attributes:
        equation: the multiplier equation, or None where it does not apply.
        feature_span: or None.
        n_images: estimated number of training images.
        n_outputs: K.
        knowledge: to turn inputs into pixels.
    """

    equation: AbstractEquation | None
    feature_span: FeatureSpan | None
    n_images: int
    n_outputs: int
    knowledge: AttackerKnowledge


@dataclass(frozen=True)
class RunSummary:
    """One objective's share of the attack; fields as in `privaudit.result.AttackRun`."""

    objective: str
    status: str
    restarts: int
    steps: int
    candidates: int
    reconstructions: int
    seconds: float
    loss: float | None
    explained: float | None


@dataclass(frozen=True)
class Snapshot:
    """All that would have been handed on after `seconds` of attack: (M, C, H, W) pixels."""

    seconds: float
    pixels: Tensor


@dataclass(frozen=True)
class AttackOutcome:
    """What the attack hands on.

    Attributes:
        reconstructions: images.
        placebo_shares: per objective, how many of the reconstructions are its.
        runs: one an objective.
        history: snapshots in time, the last is `reconstructions`.
        is_interrupted: the user stopped it; what was finished is here.
        seconds: of wall clock.
    """

    reconstructions: Reconstructions
    runs: tuple[RunSummary, ...]
    history: tuple[Snapshot, ...]
    is_interrupted: bool
    seconds: float


@dataclass
class _Trials:
    """State of one attack."""

    searches: Searches
    plan: Plan
    seed: int
    listener: ProgressListener
    begun: float = field(default_factory=time.monotonic)
    parts: dict[str, Reconstructions] = field(default_factory=dict)
    runs: list[RunSummary] = field(default_factory=list)
    history: list[Snapshot] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    @property
    def deadline(self) -> float:
        return math.inf if self.plan.time_limit_s is None else self.begun + self.plan.time_limit_s

    @property
    def is_over(self) -> bool:
        return self.is_interrupted or time.monotonic() > self.deadline

    def generator(self, *stream: int) -> torch.Generator:
        """Its own stream of random numbers for every round, so that a resumed attack draws the same."""
        mixed = self.seed
        for number in stream:
            mixed = (mixed * 1_000_003 + number + 1) % (2**63)
        return torch.Generator().manual_seed(mixed)

    def pixels(self, inputs: Tensor) -> Tensor:
        return self.searches.knowledge.pixels(inputs.cpu()).float()

    def hand_on(self, name: str, part: Reconstructions) -> None:
        """Replace what an objective contributes."""
        self.parts[name] = part
        pixels = torch.cat([part.pixels for part in self.parts.values()])
        self.history.append(Snapshot(self.elapsed, pixels))

    def run(
        self,
        objective: AbstractObjective,
        n_restarts: int,
        settings: SolverSettings,
        generator: torch.Generator,
        start: tuple[Tensor, Tensor] | None,
        done: tuple[int, int],
    ) -> Outcome:
        """One batch of restarts; `done` of how many such batches are behind."""
        variables = objective.start(n_restarts, generator)
        if start is not None and isinstance(objective, AbstractEquation):
            objective.warm_start(variables, *start)

        def tell(share: float, loss: float) -> None:
            overall = (done[0] + share) / done[1]
            spent = self.elapsed
            left = spent / overall - spent if overall > 0.02 else math.inf
            self.listener.trial(
                TrialProgress(
                    objective.name,
                    overall,
                    loss,
                    done[0] * n_restarts,
                    done[1] * n_restarts,
                    min(left, max(self.deadline - time.monotonic(), 0)),
                )
            )

        outcome = minimise(objective, variables, settings, deadline=self.deadline, on_progress=tell)
        self.is_interrupted |= outcome.is_interrupted
        return outcome


def attack(searches: Searches, plan: Plan, seed: int, listener: ProgressListener) -> AttackOutcome:
    """Run every search under the plan.

    The equation goes first. Where its restarts agree, the feature span contributes what recurs there too; where they do
    not (hundreds of images), the feature span carries the attack and everything it found is handed on.
    """
    trials = _Trials(searches, plan, seed, listener)
    agreed = searches.equation is not None and _rounds(trials, searches.equation)
    if searches.feature_span is not None and not trials.is_over:
        _span_search(trials, searches.feature_span, agreed)
    parts = list(trials.parts.values())
    shape = tuple(searches.knowledge.mean.shape)
    assert len(shape) == 3
    whole = united(parts, shape, searches.n_outputs)
    return AttackOutcome(whole, tuple(trials.runs), tuple(trials.history), trials.is_interrupted, trials.elapsed)


def _rounds(trials: _Trials, equation: AbstractEquation) -> bool:
    """Rounds of the equation; returns whether its restarts agreed on enough to be believed."""
    plan, n_images = trials.plan, trials.searches.n_images
    n_restarts = plan.restarts
    if equation.n_candidates * n_restarts > _CANDIDATES_AT_ONCE:
        n_restarts = max(_PROBE_RESTARTS, _CANDIDATES_AT_ONCE // equation.n_candidates)
    begun, start, agreed, steps, done = trials.elapsed, None, False, 0, 0
    outcome: Outcome | None = None
    for number in range(plan.rounds):
        outcome = trials.run(
            equation, n_restarts, SolverSettings(plan.steps), trials.generator(0, number), start, (number, plan.rounds)
        )
        steps, done = steps + outcome.n_steps * n_restarts, done + n_restarts
        finite = torch.isfinite(outcome.variables["coordinates"]).all(-1).all(-1)
        if not finite.any():
            break
        common = _hand_on_round(trials, equation, outcome, finite, number * n_restarts)
        agreed = len(common.kept) >= _AGREEMENT_FLOOR * n_images
        if not agreed or trials.is_over:
            break
        start = _next_start(equation, outcome, finite, common)
    if outcome is not None:
        trials.runs.append(_equation_summary(trials, equation, outcome, done, steps, trials.elapsed - begun))
    return agreed


def _hand_on_round(
    trials: _Trials, equation: AbstractEquation, outcome: Outcome, finite: Tensor, first_restart: int
) -> Agreement:
    """What the candidates of a round have in common; each image of the round is handed on once."""
    m = equation.n_candidates
    inputs = equation.inputs(outcome.variables)[finite].flatten(0, 1).cpu()
    restart = torch.arange(int(finite.sum())).repeat_interleave(m)
    common = agreement(inputs, restart)
    order = common.votes.argsort(descending=True, stable=True)
    chosen = without_repeats(inputs, order, _REPEAT)
    others = max(int(finite.sum()) - 1, 1)
    trials.hand_on(
        equation.name,
        Reconstructions(
            trials.pixels(inputs[chosen]),
            equation.multipliers(outcome.variables)[finite].flatten(0, 1)[chosen.to(finite.device)].float().cpu(),
            restart[chosen] + first_restart,
            torch.zeros(len(chosen), dtype=torch.int64),
            (equation.name,),
            common.votes[chosen] / others,
            torch.full((len(chosen),), trials.elapsed),
        ),
    )
    return common


def _next_start(
    equation: AbstractEquation, outcome: Outcome, finite: Tensor, common: Agreement
) -> tuple[Tensor, Tensor]:
    coordinates = outcome.variables["coordinates"][finite].flatten(0, 1).cpu()
    multipliers = equation.multipliers(outcome.variables)[finite].flatten(0, 1).cpu()
    return common.average(coordinates), common.average(multipliers)


def _equation_summary(
    trials: _Trials, equation: AbstractEquation, outcome: Outcome, restarts: int, steps: int, seconds: float
) -> RunSummary:
    loss, explained = equation.residual(outcome.variables)
    best = int(loss.nan_to_num(math.inf).argmin())
    is_finite = bool(loss[best].isfinite())
    return RunSummary(
        equation.name,
        _worst(outcome.status),
        restarts,
        steps,
        equation.n_candidates,
        len(trials.parts[equation.name]) if equation.name in trials.parts else 0,
        seconds,
        float(loss[best]) if is_finite else None,
        float(explained[best]) if is_finite else None,
    )


def _worst(status: tuple[Status, ...]) -> str:
    for candidate in (Status.INTERRUPTED, Status.BUDGET_EXHAUSTED, Status.NON_FINITE):
        if candidate in status:
            return str(candidate.value)
    return str(Status.FINISHED.value)


def _span_search(trials: _Trials, search: FeatureSpan, agreed: bool) -> None:
    """Chunks of single-image searches."""
    n_chunks = max(1, round(trials.plan.span_starts / search.n_candidates))
    begun, found, losses, status, steps = trials.elapsed, [], [], Status.FINISHED.value, 0
    for chunk in range(n_chunks):
        outcome = trials.run(
            search, 1, SolverSettings(trials.plan.span_steps), trials.generator(1, chunk), None, (chunk, n_chunks)
        )
        status, steps = _worst(outcome.status), steps + outcome.n_steps
        found.append(search.inputs(outcome.variables)[0].cpu())
        losses.append(search.candidate_losses(outcome.variables)[0].cpu())
        _hand_on_span(trials, search, torch.cat(found), torch.cat(losses), agreed)
        if trials.is_over:
            break
    loss = float(torch.cat(losses).median())
    trials.runs.append(
        RunSummary(
            search.name,
            status,
            len(found) * search.n_candidates,
            steps,
            search.n_candidates,
            len(trials.parts[search.name]) if search.name in trials.parts else 0,
            trials.elapsed - begun,
            loss if math.isfinite(loss) else None,
            None,
        )
    )


def _hand_on_span(trials: _Trials, search: FeatureSpan, inputs: Tensor, losses: Tensor, agreed: bool) -> None:
    finite = losses.isfinite()
    inputs, losses = inputs[finite], losses[finite]
    if not len(inputs):
        return
    common = agreement(inputs, torch.arange(len(inputs)))
    if agreed:
        chosen = torch.tensor(common.kept, dtype=torch.int64)
    else:
        chosen = without_repeats(inputs, losses.argsort(), _REPEAT)
    trials.hand_on(
        search.name,
        Reconstructions(
            trials.pixels(inputs[chosen]),
            torch.zeros(len(chosen), trials.searches.n_outputs),
            chosen,
            torch.zeros(len(chosen), dtype=torch.int64),
            (search.name,),
            common.votes[chosen].clamp_max(5) / 5,
            torch.full((len(chosen),), trials.elapsed),
        ),
    )
