"""A whole scan, from settings to files: the only module that knows every stage."""

import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from privaudit import __version__
from privaudit.budget import plan_for
from privaudit.config import ScanSettings
from privaudit.evidence import budget_curve, evidence_of
from privaudit.inspection import preflight_of, survey_of
from privaudit.loading import Loaded, load
from privaudit.matching import MatchTable, match
from privaudit.membership import MembershipTable, membership_by_span
from privaudit.objectives.interface import AbstractObjective
from privaudit.pictures_file import pictures_bytes
from privaudit.preflight import Survey
from privaudit.progress import ProgressListener
from privaudit.reconstructions import Reconstructions
from privaudit.result import (
    Attack,
    AttackRun,
    AuditResult,
    BudgetPoint,
    Evidence,
    Instrument,
    Layer,
    Model,
    Reproduce,
    Tool,
)
from privaudit.result_file import sealed, to_json, write_private
from privaudit.searches import build_searches
from privaudit.trials import AttackOutcome, Searches, attack
from privaudit.verdict import verdict_for

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "safetensors")


@dataclass(frozen=True)
class ScanOutcome:
    """A finished scan and the files it wrote, `result.json` first."""

    result: AuditResult
    files: tuple[Path, ...]


def scan(settings: ScanSettings, listener: ProgressListener, command: str) -> ScanOutcome:
    """Audit a checkpoint and write the results.

    Args:
        settings: what to audit and how.
        listener: told about progress.
        command: the command line, for the report.

    Raises:
        PrivauditError: bad input (before anything is written), or an output folder that cannot be written.
    """
    started = datetime.now(UTC)
    loaded = load(settings, listener)
    listener.stage("preflight", "reading the spectrum of the weights")
    found = survey_of(loaded, settings)
    listener.stage("membership", "which images the weights betray without rebuilding any")
    membership = _membership(loaded, found, settings.fpr)
    searches = build_searches(
        loaded.target, found, loaded.knowledge, settings.candidates, getattr(torch, settings.dtype), loaded.device
    )
    listener.stage("attack", f"{', '.join(found.objectives) or 'nothing applies'}")
    outcome = _attack(searches, settings, listener, len(loaded.target.input_shape))
    listener.stage("match", "comparing reconstructions with training images, controls and the placebo")
    evidence, curve, table = _evidence(loaded, searches, outcome, membership, settings)
    instrument = _instrument(settings, listener)
    preflight = preflight_of(loaded, found)
    attacked = _attack_summary(loaded, found, searches, outcome, curve, settings.seed)
    verdict = verdict_for(
        evidence,
        preflight,
        attacked,
        instrument,
        max_leaked=settings.max_leaked,
        max_readable=settings.max_readable,
        fail_on=settings.fail_on,
    )
    result = sealed(
        AuditResult(
            tool=Tool(version=__version__),
            model=_model(loaded, settings),
            preflight=preflight,
            attack=attacked,
            evidence=evidence,
            instrument=instrument,
            verdict=verdict,
            reproduce=_reproduce(settings, command, started),
        )
    )
    listener.stage("report", f"writing to {settings.out}")
    return ScanOutcome(result, _write(result, loaded, outcome.reconstructions, table, settings))


def _membership(loaded: Loaded, found: Survey, fpr: float) -> MembershipTable | None:
    if loaded.reference is None:
        return None
    site, cut = found.first or (None, None)
    to_inputs = loaded.preprocessing.to_inputs
    controls = None if loaded.control is None else to_inputs(loaded.control.pixels)
    return membership_by_span(site, cut, to_inputs(loaded.reference.pixels), controls, fpr)


def _attack(searches: Searches, settings: ScanSettings, listener: ProgressListener, n_dimensions: int) -> AttackOutcome:
    plan = plan_for(settings.budget, searches.n_images, settings.restarts, settings.time_limit_s)
    return attack(searches, plan, settings.seed, listener)


def _evidence(
    loaded: Loaded,
    searches: Searches,
    outcome: AttackOutcome,
    membership: MembershipTable | None,
    settings: ScanSettings,
) -> tuple[Evidence | None, tuple[BudgetPoint, ...], MatchTable | None]:
    if loaded.reference is None or membership is None:
        return None, (), None
    controls = None if loaded.control is None else loaded.control.pixels
    found = outcome.reconstructions
    table = match(found.pixels, loaded.reference.pixels, controls, _placebo(searches, found), settings.seed)
    evidence = evidence_of(
        loaded.reference,
        0 if loaded.control is None else len(loaded.control),
        table,
        membership,
        fpr=settings.fpr,
        reveal=settings.reveal,
        duplicates=loaded.duplicates,
    )
    return evidence, budget_curve(outcome.history, loaded.reference, evidence.calibrated_threshold.ssim), table


class _Placebo:
    """Draws as many unoptimised images as there are reconstructions, from the same search spaces (METHOD 3f)."""

    def __init__(self, searches: Searches, found: Reconstructions) -> None:
        by_name: dict[str, AbstractObjective] = {
            search.name: search for search in (searches.equation, searches.feature_span) if search is not None
        }
        counts = torch.bincount(found.objective, minlength=len(found.objectives)).tolist()
        self._parts = [(by_name[name], count) for name, count in zip(found.objectives, counts, strict=True)]
        self._pixels = searches.knowledge.pixels

    def __call__(self, generator: torch.Generator) -> Tensor:
        """(M, C, H, W) pixels."""
        return torch.cat([self._pixels(search.placebo(n, generator).cpu()) for search, n in self._parts])


def _placebo(searches: Searches, found: Reconstructions) -> _Placebo | None:
    return _Placebo(searches, found) if len(found) else None


def _instrument(settings: ScanSettings, listener: ProgressListener) -> Instrument:
    return Instrument(positive_control="not_run", negative_control="not_run")


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
        knowledge=loaded.knowledge.sentences,
        budget_curve=curve,
        reconstructions=len(outcome.reconstructions),
    )


def _model(loaded: Loaded, settings: ScanSettings) -> Model:
    target, checkpoint = loaded.target, loaded.checkpoint
    return Model(
        path=str(settings.model),
        sha256=checkpoint.sha256,
        format=checkpoint.format,
        adapter=target.adapter,
        parameters=target.n_parameters,
        input_shape=target.input_shape,
        outputs=target.n_outputs,
        layers=tuple(Layer(name=x.name, kind=x.kind, shape=x.shape, has_bias=x.has_bias) for x in target.layers),
        metadata=checkpoint.metadata,
    )


def _reproduce(settings: ScanSettings, command: str, started: datetime) -> Reproduce:
    versions = {"python": platform.python_version(), "privaudit": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # installed some other way than as a distribution
            versions[package] = str(getattr(sys.modules.get(package), "__version__", "unknown"))
    return Reproduce(
        command=command,
        config=settings.model_dump(mode="json"),
        versions=versions,
        seeds=(settings.seed,),
        started=started.isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
    )


def _write(
    result: AuditResult,
    loaded: Loaded,
    found: Reconstructions,
    table: MatchTable | None,
    settings: ScanSettings,
) -> tuple[Path, ...]:
    from privaudit.report import write_reports  # matplotlib is loaded when there is something to draw

    pictures = settings.out / "reconstructions.safetensors"
    write_private(pictures, pictures_bytes(result, loaded, found, table))
    document = settings.out / "result.json"
    write_private(document, to_json(result).encode())
    return (document, pictures, *write_reports(document, settings.format, settings.reveal, settings.out))
