"""What came out of one cell: the model of `cell.json`, read whole or not at all.

In: a finished training and a finished scan. Out: a `CellOutcome`. Knows no tensors and imports no torch; must not know
grids, tables or pages.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from privaudit.result import AuditResult
from privaudit.result_file import write_private
from privaudit.study.interface import TrainingSummary
from privaudit.study.recipe import Recipe

CELL_FILE = "cell.json"
AUDIT_FOLDER = "audit"  # beside it, what the scan wrote
_DIGITS = 4
"""Of SSIM in a cell; a hundredth of what two scans of one network differ by."""


class StudyModel(BaseModel):
    """Base of what a study stores: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ScanCounts(StudyModel):
    """What a scan of the cell's network found; counts are of images.

    Attributes:
        members: training images; `controls` images never trained on.
        published_members: above the literature's SSIM > 0.4, `published_controls` likewise; `published_placebo` members
            above it by unoptimised draws.
        ssim_threshold: calibrated at the rate `fpr`; None, with the reason, where none could be.
        members_leaked: above the calibrated threshold, `controls_leaked` likewise; `interval_low` and `interval_high`
            the scan's own bounds in records.
        p_value: exact test against controls.
        membership_applicable: whether membership was looked for; `membership_found` members whose membership is
            readable, between `membership_low` and `membership_high` records; `membership_controls` likewise.
        mode: the training that the attack took the network for.
        explained: share of the squared weights that the attack explains, in [0, 1].
        estimated_training_images: from the spectrum; `reconstructions` that the attack handed on.
        seconds: of the attack.
        verdict: its status and the first reason.
        ssim: best SSIM of every record, falling, empty where nothing was reconstructed; `ssim_median` their median.
        model_sha256: of the checkpoint, `result_sha256` of the result.
    """

    members: int
    controls: int
    published_members: int
    published_controls: int
    published_placebo: float | None
    fpr: float
    ssim_threshold: float | None
    threshold_reason: str
    members_leaked: int
    controls_leaked: int
    interval_low: float
    interval_high: float
    p_value: float | None
    membership_applicable: bool
    membership_reason: str
    membership_found: int
    membership_controls: int
    membership_low: float
    membership_high: float
    membership_p_value: float | None
    mode: str
    explained: float | None
    estimated_training_images: int | None
    reconstructions: int
    seconds: float
    verdict: Literal["no_leak_found", "leak_found", "inconclusive"]
    verdict_reason: str
    ssim: tuple[float, ...]
    ssim_median: float | None
    model_sha256: str
    result_sha256: str


class CellOutcome(StudyModel):
    """The whole of `cell.json`.

    Attributes:
        digest: of everything that decides the outcome; a file with another one is another cell's.
        status: `failed` with the `reason` in one line, or `done`.
        recipe: how the network was trained; `scan` settings of the scan that were given, by name.
        training: how training ended; None where it did not.
        counts: what the scan found; None where it failed.
        seconds: of the cell, from its start.
        started: in UTC; `machine` and `versions` that it ran on.
    """

    schema_version: Literal["1.0"] = "1.0"
    digest: str
    status: Literal["done", "failed"]
    reason: str = ""
    recipe: Recipe
    scan: dict[str, Any]
    training: TrainingSummary | None = None
    counts: ScanCounts | None = None
    seconds: float = 0.0
    started: str = ""
    machine: str = ""
    versions: dict[str, str] = {}


def counts_of(result: AuditResult) -> ScanCounts:
    """The numbers of a result that a study compares.

    Raises:
        ValueError: a result without a reference, which a study never scans without.
    """
    evidence = result.evidence
    if evidence is None:
        raise ValueError("expected a result with a reference, found one without")
    published, calibrated, membership = evidence.published_threshold, evidence.calibrated_threshold, evidence.membership
    has_any = result.attack.reconstructions > 0  # without any, the records carry the lowest score there is
    ssim = sorted((round(record.ssim, _DIGITS) for record in evidence.records if has_any), reverse=True)
    return ScanCounts(
        members=evidence.members,
        controls=evidence.controls,
        published_members=published.members_leaked,
        published_controls=published.controls_leaked,
        published_placebo=published.placebo_leaked,
        fpr=calibrated.fpr,
        ssim_threshold=calibrated.ssim,
        threshold_reason=calibrated.reason,
        members_leaked=calibrated.members_leaked,
        controls_leaked=calibrated.controls_leaked,
        interval_low=calibrated.interval_low,
        interval_high=calibrated.interval_high,
        p_value=calibrated.p_value,
        membership_applicable=membership.applicable and membership.threshold is not None,
        membership_reason=membership.reason,
        membership_found=membership.members_found,
        membership_controls=membership.controls_found,
        membership_low=membership.interval_low,
        membership_high=membership.interval_high,
        membership_p_value=membership.p_value,
        mode=result.attack.mode,
        explained=result.attack.explained,
        estimated_training_images=result.preflight.estimated_training_images,
        reconstructions=result.attack.reconstructions,
        seconds=result.attack.seconds,
        verdict=result.verdict.status,
        verdict_reason=next(iter(result.verdict.reasons), ""),
        ssim=tuple(ssim),
        ssim_median=median(ssim) if ssim else None,
        model_sha256=result.model.sha256,
        result_sha256=result.self_sha256,
    )


def write_outcome(folder: Path, outcome: CellOutcome) -> None:
    """Write `cell.json` whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    text = json.dumps(outcome.model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False)
    write_private(folder / CELL_FILE, f"{text}\n".encode())


def read_outcome(folder: Path, digest: str) -> CellOutcome | None:
    """The outcome in a cell's folder; None where there is none, it is not whole, or it is another cell's."""
    try:
        outcome = CellOutcome.model_validate(json.loads((folder / CELL_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
    is_whole = outcome.status == "failed" or (outcome.training is not None and outcome.counts is not None)
    return outcome if outcome.digest == digest and is_whole else None
