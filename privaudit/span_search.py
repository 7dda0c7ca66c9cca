"""Feature span: chunks of single-image searches, what they hand on and how sure of it they are.

In: a session. Out: what its feature span found, in the session. Must not know training images.
"""

import math

import torch
from torch import Tensor

from privaudit.agreement import agreement, distinct
from privaudit.attack_types import RunSummary
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.reconstructions import Reconstructions
from privaudit.refinement import REPEAT
from privaudit.session import Session
from privaudit.solver import Status, worst_status
from privaudit.trial_store import joined

_CERTAIN_VOTES = 5  # other searches with the same image from which confidence is full


def search_span(session: Session, search: FeatureSpan, agreed: bool) -> None:
    """Chunks of single-image searches.

    Args:
        session: receives images and summary.
        search: the feature span.
        agreed: restarts of the equation agreed, so that only what recurs here is handed on; otherwise everything.
    """
    n_chunks = max(1, math.ceil(session.plan.span_starts / search.n_candidates))
    before, begun = session.finished, session.elapsed
    inputs, losses, status, steps = before.span_inputs, before.span_losses, Status.FINISHED.value, 0
    for chunk in range(before.chunks, n_chunks):
        stream = session.generator(1, chunk)
        outcome = session.run(search, 1, session.plan.span_steps, stream, None, (chunk, n_chunks))
        status, steps = worst_status(outcome.status), steps + outcome.n_steps
        inputs = joined(inputs, search.inputs(outcome.variables)[0].cpu())
        losses = joined(losses, search.candidate_losses(outcome.variables)[0].cpu())
        _hand_on_span(session, search, inputs, losses, agreed)
        session.finish(chunks=chunk + 1, span_inputs=inputs, span_losses=losses)
        if session.is_over:
            break
    if inputs is not None and losses is not None:
        loss = float(losses.median())
        session.runs.append(
            RunSummary(
                search.name,
                status,
                len(inputs) // search.n_candidates,
                steps,
                search.n_candidates,
                len(session.parts[search.name]) if search.name in session.parts else 0,
                session.elapsed - begun,
                loss if math.isfinite(loss) else None,
                None,
            )
        )


def _hand_on_span(session: Session, search: FeatureSpan, inputs: Tensor, losses: Tensor, agreed: bool) -> None:
    finite = losses.isfinite()
    inputs, losses = inputs[finite], losses[finite]
    if not len(inputs):
        return
    common = agreement(inputs, torch.arange(len(inputs)))
    order = losses.argsort()
    chosen = torch.tensor(common.kept if agreed else distinct(order, common.similarity, REPEAT), dtype=torch.int64)
    confidence = common.votes[chosen].clamp_max(_CERTAIN_VOTES) / _CERTAIN_VOTES
    if not agreed and session.searches.judge is not None:  # among hundreds of images false optima recur too
        confidence = session.searches.judge.confidence(inputs[chosen]).cpu()
    session.hand_on(
        search.name,
        Reconstructions(
            session.pixels(inputs[chosen]),
            torch.zeros(len(chosen), session.searches.n_outputs),
            chosen,
            torch.zeros(len(chosen), dtype=torch.int64),
            (search.name,),
            confidence,
            torch.full((len(chosen),), session.elapsed),
        ),
    )
