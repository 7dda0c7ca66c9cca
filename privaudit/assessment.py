"""The stages between a loaded checkpoint and a report, in memory: what a scan and the check of the instrument share.

In: `Loaded` and settings. Out: an `Assessment`. Must know neither files nor the instrument, which is checked with it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.attack_types import AttackOutcome, Searches
from privaudit.budget import plan_for
from privaudit.config import ScanSettings
from privaudit.evidence import budget_curve, evidence_of
from privaudit.inspection import membership_table, preflight_of, survey_of
from privaudit.loading import Loaded
from privaudit.matching import MatchTable, match
from privaudit.membership import MembershipTable
from privaudit.objectives.interface import AbstractObjective
from privaudit.objectives.span_equation import SpanEquation
from privaudit.preflight import Survey
from privaudit.progress import ProgressListener, TrialProgress
from privaudit.reconstructions import Reconstructions
from privaudit.result import Attack, AttackRun, BudgetPoint, Evidence, Instrument, Preflight, Verdict
from privaudit.searches import build_searches
from privaudit.trial_store import SavedTrials
from privaudit.trials import attack
from privaudit.verdict import verdict_for


@dataclass(frozen=True)
class Assessment:
    """What the stages found.

    Attributes:
        preflight: what applies.
        attack: summary of the attack.
        evidence: members against controls; None without a reference.
        table: the scores behind it, or None.
        reconstructions: images.
    """

    preflight: Preflight
    attack: Attack
    evidence: Evidence | None
    table: MatchTable | None
    reconstructions: Reconstructions

    def verdict(self, settings: ScanSettings, instrument: Instrument) -> Verdict:
        """The decision under the settings' allowances."""
        return verdict_for(
            self.evidence,
            self.preflight,
            self.attack,
            instrument,
            max_leaked=settings.max_leaked,
            max_readable=settings.max_readable,
            fail_on=settings.fail_on,
        )


def assess(
    loaded: Loaded,
    settings: ScanSettings,
    listener: ProgressListener,
    finished: SavedTrials | None = None,
    on_finished: Callable[[SavedTrials], None] = lambda _: None,
) -> Assessment:
    """Survey, membership, searches, attack, match, evidence.

    Args:
        loaded: what to audit.
        settings: how.
        listener: told about progress.
        finished: trials of an interrupted scan of the same checkpoint with the same settings.
        on_finished: told whenever more trials are finished.
    """
    listener.stage("preflight", "reading the spectrum of the weights")
    found = survey_of(loaded, settings)
    listener.stage("membership", "which images the weights betray without rebuilding any")
    membership = _membership(loaded, found, settings.fpr, listener)
    searches = build_searches(
        loaded.target, found, loaded.knowledge, settings.candidates, getattr(torch, settings.dtype), loaded.device
    )
    listener.stage("attack", f"{', '.join(found.objectives) or 'nothing applies'}")
    is_costly = searches.equation is not None and not isinstance(searches.equation, SpanEquation)
    plan = plan_for(
        settings.budget,
        searches.n_images,
        settings.restarts,
        settings.time_limit_s,
        is_costly,
        searches.tied is not None,
        searches.feature_span is not None and searches.feature_span.space.decoder is None,
    )
    outcome = attack(searches, plan, settings.seed, listener, finished, on_finished)
    listener.stage("match", "comparing reconstructions with training images, controls and the placebo")
    evidence, curve, table = _evidence(loaded, searches, outcome, membership, settings)
    attacked = _attack_summary(loaded, found, searches, outcome, curve, settings.seed)
    return Assessment(preflight_of(loaded, found), attacked, evidence, table, outcome.reconstructions)


def _membership(loaded: Loaded, found: Survey, fpr: float, listener: ProgressListener) -> MembershipTable | None:
    begun = time.monotonic()

    def tell(share: float) -> None:
        left = (time.monotonic() - begun) * (1 - share) / share
        listener.trial(TrialProgress("multipliers", share, math.nan, 0, 1, left))

    return membership_table(loaded, found, fpr, with_multipliers=True, on_progress=tell)


def _evidence(
    loaded: Loaded,
    searches: Searches,
    outcome: AttackOutcome,
    membership: MembershipTable | None,
    settings: ScanSettings,
) -> tuple[Evidence | None, tuple[BudgetPoint, ...], MatchTable | None]:
    held = loaded.held
    if held is None or membership is None:
        return None, (), None
    controls = None if held.control is None else held.control.pixels
    found = outcome.reconstructions
    table = match(found.pixels, held.reference.pixels, controls, _placebo(searches, found), settings.seed)
    evidence = evidence_of(
        held, table, membership, found.pixels, fpr=settings.fpr, reveal=settings.reveal, seed=settings.seed
    )
    return evidence, budget_curve(outcome.history, held.reference, evidence.calibrated_threshold.ssim), table


class _Placebo:
    """Draws as many unoptimised images as there are reconstructions, from the same search spaces (METHOD 3f)."""

    def __init__(self, searches: Searches, found: Reconstructions) -> None:
        by_name: dict[str, AbstractObjective] = {
            search.name: search
            for search in (searches.equation, searches.tied, searches.feature_span)
            if search is not None
        }
        counts = torch.bincount(found.objective, minlength=len(found.objectives)).tolist()
        self._parts = [(by_name[name], count) for name, count in zip(found.objectives, counts, strict=True)]
        self._pixels = searches.knowledge.pixels

    def __call__(self, generator: torch.Generator) -> Tensor:
        """(M, C, H, W) pixels."""
        return torch.cat([self._pixels(search.placebo(n, generator).cpu()) for search, n in self._parts])


def _placebo(searches: Searches, found: Reconstructions) -> _Placebo | None:
    return _Placebo(searches, found) if len(found) else None


def _attack_summary(
    loaded: Loaded,
    found: Survey,
    searches: Searches,
    outcome: AttackOutcome,
    curve: tuple[BudgetPoint, ...],
    seed: int,
) -> Attack:
    explained = [run.explained for run in outcome.runs if run.explained is not None]
    return Attack(
        mode=found.equation,
        mode_reason=found.equation_reason,
        device=str(loaded.device),
        restarts=sum(run.restarts for run in outcome.runs),
        steps=sum(run.steps for run in outcome.runs),
        seconds=round(outcome.seconds, 2),
        candidates=0 if searches.equation is None else searches.equation.n_candidates,
        seed=seed,
        explained=max(explained) if explained else None,
        interrupted=outcome.is_interrupted,
        runs=tuple(AttackRun(**vars(run)) for run in outcome.runs),
        knowledge=(*loaded.knowledge.sentences, *_tied_knowledge(found, searches)),
        budget_curve=curve,
        reconstructions=len(outcome.reconstructions),
    )


def _tied_knowledge(found: Survey, searches: Searches) -> tuple[str, ...]:
    """What the attack takes from the metadata beside preprocessing."""
    known = found.stationarity
    if known is None or searches.tied is None:
        return ()
    return (f"Training: {known.loss.replace('_', ' ')} loss with weight decay {known.weight_decay:g} (metadata)",)
