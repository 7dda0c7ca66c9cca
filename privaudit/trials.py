"""Rounds of restarts, what they agree on, and what is handed on.

In: searches built from a network, a plan of work, a seed. Out: reconstructions with a summary of every run. Must not
know training images: settings, stopping and selection use the loss, agreement between restarts and the network alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from privaudit.agreement import Agreement, agreement, distinct
from privaudit.attack_types import AttackOutcome, Searches
from privaudit.budget import Plan
from privaudit.objectives.equation import AbstractEquation
from privaudit.progress import ProgressListener
from privaudit.reconstructions import Reconstructions, united
from privaudit.refinement import REPEAT, best_restarts, refine, refine_proposals
from privaudit.session import Session
from privaudit.solver import Outcome
from privaudit.span_search import search_span
from privaudit.trial_store import SavedTrials

_AGREEMENT_FLOOR = 0.1  # of the images: with less in common restarts never met (METHOD 3d, n = 500: 1 of 1,500)
_PROBE_RESTARTS = 2  # of a problem too large for all restarts at once; half the steps show whether anything recurs
_CANDIDATES_AT_ONCE = 1000


def attack(
    searches: Searches,
    plan: Plan,
    seed: int,
    listener: ProgressListener,
    finished: SavedTrials | None = None,
    on_finished: Callable[[SavedTrials], None] = lambda _: None,
) -> AttackOutcome:
    """Run every search under the plan.

    The equation goes first. Where its restarts agree and the metadata say enough, its best are refined with multipliers
    tied to the loss: that replaces what it found, and the feature span has nothing to add. Where nothing can be tied,
    the feature span contributes what recurs there too. Where restarts do not agree (hundreds of images), the feature
    span carries the attack: everything it found is handed on, and is the start of one run of the tied equation.

    Args:
        searches: what to attack with what.
        plan: how much.
        seed: the same seed on the same device gives the same images.
        listener: told about progress.
        finished: work of an interrupted attack with the same searches, plan and seed.
        on_finished: told whenever more is finished.
    """
    session = Session(searches, plan, seed, listener, finished or SavedTrials(), on_finished)
    agreed = searches.equation is not None and _rounds(session, searches.equation)
    if agreed and searches.equation is not None and searches.tied is not None and not session.is_over:
        refine(session, searches.tied, searches.equation.name)
    is_refined = searches.tied is not None and searches.tied.name in session.parts
    if searches.feature_span is not None and not session.is_over and not is_refined:
        search_span(session, searches.feature_span, agreed)
        if searches.tied is not None and not agreed and not session.is_over:
            refine_proposals(session, searches.tied)
    shape = tuple(searches.knowledge.mean.shape)
    assert len(shape) == 3
    whole = united(list(session.parts.values()), shape, searches.n_outputs)
    return AttackOutcome(whole, tuple(session.runs), tuple(session.history), session.is_interrupted, session.elapsed)


def _rounds(session: Session, equation: AbstractEquation) -> bool:
    """Rounds of the equation; returns whether its restarts agreed on enough to be believed."""
    plan, before = session.plan, session.finished
    if before.is_equation_done:
        return before.agreed
    n_restarts, probe_steps = plan.restarts, plan.steps
    if equation.n_candidates * n_restarts > _CANDIDATES_AT_ONCE:
        n_restarts = max(_PROBE_RESTARTS, _CANDIDATES_AT_ONCE // equation.n_candidates)
        probe_steps = plan.steps // 2
    start, agreed, steps, restarts = before.start, before.agreed, before.steps, before.restarts
    for number in range(before.rounds, plan.rounds):
        stream = session.generator(0, number)
        n_steps = plan.steps if number else probe_steps
        outcome = session.run(equation, n_restarts, n_steps, stream, start, (number, plan.rounds))
        steps, restarts = steps + outcome.n_steps * n_restarts, restarts + n_restarts
        if session.is_over and outcome.n_steps < n_steps and equation.name in session.parts:
            session.runs.append(session.summary(equation, outcome, restarts, steps))
            break  # what the last whole round found is worth more than a round cut short
        finite = outcome.variables["coordinates"].isfinite().flatten(1).all(1)
        common = _common(equation, outcome, finite) if finite.any() else None
        agreed = common is not None and len(common.kept) >= _AGREEMENT_FLOOR * session.searches.n_images
        if common is not None:
            is_cut_short = session.is_over and outcome.n_steps < n_steps  # too early to ask what restarts agree on
            is_whole = agreed or is_cut_short
            _hand_on_round(session, equation, outcome, finite, common, is_whole, number * n_restarts)
        is_last = number + 1 == plan.rounds or not agreed or session.is_over
        if is_last:
            session.runs.append(session.summary(equation, outcome, restarts, steps))
        if common is not None:
            start = _next_start(equation, outcome, finite, common)
        session.finish(
            rounds=number + 1,
            is_equation_done=is_last,
            agreed=agreed,
            start=start,
            best=_best(session, equation, outcome),
            steps=steps,
            restarts=restarts,
        )
        if is_last:
            break
    return agreed


def _common(equation: AbstractEquation, outcome: Outcome, finite: Tensor) -> Agreement:
    """What the finite restarts of a round have in common."""
    inputs = equation.inputs(outcome.variables)[finite].flatten(0, 1).cpu()
    return agreement(inputs, torch.arange(int(finite.sum())).repeat_interleave(equation.n_candidates))


def _hand_on_round(
    session: Session,
    equation: AbstractEquation,
    outcome: Outcome,
    finite: Tensor,
    common: Agreement,
    is_whole: bool,
    first_restart: int,
) -> None:
    """Each image of a round once if `is_whole`; otherwise only what its restarts agreed on."""
    inputs = equation.inputs(outcome.variables)[finite].flatten(0, 1).cpu()
    n_restarts = int(finite.sum())
    restart = torch.arange(n_restarts).repeat_interleave(equation.n_candidates)
    order = common.votes.argsort(descending=True, stable=True)
    chosen = torch.tensor(distinct(order, common.similarity, REPEAT) if is_whole else common.kept, dtype=torch.int64)
    multipliers = equation.multipliers(outcome.variables)[finite].flatten(0, 1).float().cpu()
    session.hand_on(
        equation.name,
        Reconstructions(
            session.pixels(inputs[chosen]),
            multipliers[chosen],
            restart[chosen] + first_restart,
            torch.zeros(len(chosen), dtype=torch.int64),
            (equation.name,),
            common.votes[chosen] / max(n_restarts - 1, 1),
            torch.full((len(chosen),), session.elapsed),
        ),
    )


def _next_start(
    equation: AbstractEquation, outcome: Outcome, finite: Tensor, common: Agreement
) -> tuple[Tensor, Tensor] | None:
    """Means over what recurs; None where nothing does."""
    if not common.kept:
        return None
    coordinates = outcome.variables["coordinates"][finite].flatten(0, 1).cpu()
    multipliers = equation.multipliers(outcome.variables)[finite].flatten(0, 1).cpu()
    return common.average(coordinates), common.average(multipliers)


def _best(session: Session, equation: AbstractEquation, outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Coordinates and multipliers of the restarts to refine."""
    coordinates, multipliers = outcome.variables["coordinates"], equation.multipliers(outcome.variables)
    return best_restarts(coordinates, multipliers, outcome.loss, session.plan.refined_restarts)
