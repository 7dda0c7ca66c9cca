"""Refinement of the equation's best restarts with multipliers tied to the loss. Must not know training images.

In: the last round's best restarts. Out: images that replace what the plain equation found. The plain equation has false
optima as good as the truth, the tied one has not (`objectives/tied_equation.py`). So its restarts are worth carrying
on: between stages each loses its repeats and what contradicts the loss, and takes over images that two others share.
Where restarts never agree, single-image searches propose instead, and one run of the tied equation adds to them.
"""

import math

import torch
from torch import Tensor

from privaudit.agreement import SAME, agreement, distinct, unit_images
from privaudit.objectives.interface import Variables
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.reconstructions import Reconstructions
from privaudit.session import Session

REPEAT = 0.9  # images more alike than this are handed on once
_CONTRADICTION = 1.5  # logarithm of a multiplier over what the loss says, from which a candidate is dropped
_PROPOSED_BAND = 0.3  # half-width of the kink to begin with: a proposal's gates are not all in doubt
_PROPOSALS_PER_IMAGE = 2  # on 500 images more found more (1.2: 65 records, 1.8: 101 in one trial)
_PLANNED_FOR = 1000  # candidates up to which the planned steps are taken; with more, fewer
_PROPOSALS = 0.85  # proposals more alike than this take one place
_OTHERS = 0.7  # an image of another restart is taken over where nothing is this much like it


def best_restarts(coordinates: Tensor, multipliers: Tensor, loss: Tensor, n_wanted: int) -> tuple[Tensor, Tensor]:
    """The `n_wanted` restarts of least loss, on the CPU: (r, m, rank) and (r, m, K) of (R, m, rank) and (R, m, K)."""
    order = loss.nan_to_num(math.inf).argsort()[:n_wanted].to(coordinates.device)
    return coordinates[order].float().cpu(), multipliers[order].float().cpu()


def refine(session: Session, tied: TiedEquation, replaced: str) -> None:
    """Run the stages of the tied equation from the best restarts and hand on each image once.

    Args:
        session: with the best restarts of the last round.
        tied: the equation.
        replaced: name of the objective whose images the refined ones replace.
    """
    best, plan = session.finished.best, session.plan
    if best is None or session.finished.is_refined:
        return
    begun, steps = session.elapsed, 0
    variables = tied.start(len(best[0]), session.generator(2, 0))
    tied.take_over(variables, *best)
    for stage in range(plan.refined_stages):
        outcome = session.minimise(tied, variables, plan.refined_steps, (stage, plan.refined_stages))
        steps += outcome.n_steps
        finite = outcome.loss.isfinite()
        if outcome.n_steps < plan.refined_steps or not finite.any():
            break  # cut short, the band at the kinks is too wide: what the last whole stage found is worth more
        reached = {name: value[finite.to(value.device)] for name, value in outcome.variables.items()}
        _hand_on(session, tied, reached, replaced)
        if session.is_over or stage + 1 == plan.refined_stages:
            break
        variables = next_stage(tied, reached, session.generator(2, stage + 1))
    restarts = len(outcome.loss)
    session.runs.append(session.summary(tied, outcome, restarts, steps * restarts, begun))
    session.finish(is_refined=True)


def refine_proposals(session: Session, tied: TiedEquation) -> None:
    """One run of the tied equation from what single-image searches found; adds to them what it ends in.

    Proposals whose gates fit the first layer best come first. The run makes other images readable than the searches did
    and spoils some that they had right, so both are handed on.

    Args:
        session: with the finished searches of the feature span.
        tied: the equation.
    """
    inputs, plan = session.finished.span_inputs, session.plan
    if inputs is None or session.finished.is_refined or not plan.proposed_steps:
        return
    begun = session.elapsed
    tied = tied.with_proposals(_PROPOSED_BAND, _PROPOSALS_PER_IMAGE * session.searches.n_images)
    inputs = inputs[inputs.flatten(1).isfinite().all(1)]
    judge = session.searches.judge
    order = torch.arange(len(inputs)) if judge is None else judge.outside(inputs).cpu().argsort(stable=True)
    units = unit_images(inputs)
    chosen = distinct(order, units @ units.T, _PROPOSALS)[: tied.n_candidates]
    variables = tied.start(1, session.generator(3))
    tied.take_images(variables, tied.space.coordinates(inputs[chosen]))
    steps = round(plan.proposed_steps * min(1.0, _PLANNED_FOR / tied.n_candidates))
    outcome = session.minimise(tied, variables, steps, (0, 1))
    if outcome.n_steps == steps and bool(outcome.loss.isfinite().all()):  # cut short it is worth less than its start
        _hand_on(session, tied, outcome.variables, None)
    session.runs.append(session.summary(tied, outcome, 1, outcome.n_steps, begun))
    session.finish(is_refined=True)


def next_stage(tied: TiedEquation, variables: Variables, generator: torch.Generator) -> Variables:
    """Starts of another stage: (R, m, …) variables whose restarts have exchanged what they agree on.

    A restart keeps each of its images once, unless its multiplier contradicts the loss. Free places go to images of
    other restarts that a third one shares, the rest to random ones.
    """
    n_restarts, m = variables["labels"].shape
    units = unit_images(tied.inputs(variables).flatten(0, 1)).view(n_restarts, m, -1)
    # (R, m, R): how much like an image is to its nearest in every restart.
    nearest = torch.stack([(units @ other.T).amax(-1) for other in units], -1)
    votes = (nearest > SAME).sum(-1) - 1
    sound = tied.gaps(variables).abs() < _CONTRADICTION
    order = (votes + variables["log_sizes"].sigmoid()).argsort(-1, descending=True)
    fresh = tied.start(n_restarts, generator)
    for restart in range(n_restarts):
        own = [(restart, i) for i in order[restart].tolist() if sound[restart, i]]
        others = [
            (other, i)
            for other in range(n_restarts)
            if other != restart
            for i in order[other].tolist()
            if sound[other, i] and votes[other, i] >= 1
        ]
        chosen = _fill(units, own, others, m)
        rows, columns = (torch.tensor([pair[axis] for pair in chosen], dtype=torch.int64) for axis in (0, 1))
        for name in ("coordinates", "log_sizes", "labels"):
            fresh[name][restart, : len(chosen)] = variables[name][rows, columns]
        tied.subordinate(fresh, restart, len(chosen), variables["log_sizes"][restart].median())
    return fresh


def _fill(
    units: Tensor, own: list[tuple[int, int]], others: list[tuple[int, int]], n_places: int
) -> list[tuple[int, int]]:
    """Places in (R, m, d) unit images: of `own` without repeats, then of `others` while there is room."""
    chosen: list[tuple[int, int]] = []
    for candidates, limit in ((own, SAME), (others, _OTHERS)):
        for place in candidates:
            if len(chosen) == n_places:
                break
            taken = torch.stack([units[other] for other in chosen]) if chosen else units[0, :0]
            if not len(taken) or float((taken @ units[place]).max()) < limit:
                chosen.append(place)
    return chosen


def _hand_on(session: Session, tied: TiedEquation, variables: Variables, replaced: str | None) -> None:
    """Every image once, the surest first.

    Confidence is the mean likeness to the nearest of other restarts; of a single restart, what the judge says.
    """
    inputs = tied.inputs(variables)
    n_restarts, m = inputs.shape[:2]
    restart = torch.arange(n_restarts).repeat_interleave(m)
    common = agreement(inputs.flatten(0, 1).cpu(), restart)
    nearest = common.similarity.view(n_restarts * m, n_restarts, m).amax(-1).clamp(0, 1)
    confidence = (nearest.sum(1) - 1) / max(n_restarts - 1, 1)  # its own restart has likeness 1
    if n_restarts == 1 and session.searches.judge is not None:
        confidence = session.searches.judge.confidence(inputs.flatten(0, 1)).cpu()
    order = confidence.argsort(descending=True, stable=True)
    chosen = torch.tensor(distinct(order, common.similarity, REPEAT), dtype=torch.int64)
    if replaced is not None:
        session.parts.pop(replaced, None)
    session.hand_on(
        tied.name,
        Reconstructions(
            session.pixels(inputs.flatten(0, 1).cpu()[chosen]),
            tied.multipliers(variables).flatten(0, 1).float().cpu()[chosen],
            restart[chosen],
            torch.zeros(len(chosen), dtype=torch.int64),
            (tied.name,),
            confidence[chosen].clamp(0, 1),
            torch.full((len(chosen),), session.elapsed),
        ),
    )
