"""The tables and cards of the report as plain records, so that templates only lay out.

In: an `AuditResult`. Out: frozen dataclasses of text and numbers. Must not know markup, pictures or files.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from privaudit.coverage import not_run, refined_instead
from privaudit.report import words
from privaudit.report.membership import PartTable, part_table, ssim_table
from privaudit.report.nulls import controls_text, cross_fit_details, rebuilt_null_details
from privaudit.result import AuditResult, CrossFit, Evidence, Finding

State = Literal["done", "failed", "not_run", "not_applicable"]


@dataclass(frozen=True)
class Cell:
    """One value of the key figures. `kind` tells a number from something not run or not applicable."""

    text: str
    kind: Literal["value", "not_run", "not_applicable"] = "value"


NOT_RUN = Cell(words.NOT_RUN, "not_run")
NO_THRESHOLD = Cell("no threshold", "not_run")
NOT_APPLICABLE = Cell(words.NOT_APPLICABLE, "not_applicable")


@dataclass(frozen=True)
class KeyFigure:
    """A row: what was counted, among training images, controls and the placebo."""

    name: str
    members: Cell
    controls: Cell
    placebo: Cell


@dataclass(frozen=True)
class FindingCard:
    """One finding with its interval; `total` is 0 where nothing was counted, and then `low` and `high` say nothing."""

    name: str
    title: str
    meaning: str
    status: str
    status_text: str
    count: int
    total: int
    low: float
    high: float
    allowance: int
    reason: str
    figures: tuple[KeyFigure, ...]
    details: tuple[tuple[str, str], ...]
    parts: PartTable | None = None

    @property
    def is_counted(self) -> bool:
        """Whether there is a count to show."""
        return self.total > 0 and self.status not in ("not_run", "not_applicable")


@dataclass(frozen=True)
class CoverageItem:
    """One part of the audit and whether it was done."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class ClassRow:
    """Counts of one class."""

    label: int
    total: int
    rebuilt: int
    published: int
    readable: int | None


MEANING = {
    "rebuilt": "An attacker who holds the checkpoint and none of the images obtains the picture.",
    "membership": "Someone who already holds an image can tell from the weights that it was trained on.",
}


def finding_cards(result: AuditResult) -> tuple[FindingCard, ...]:
    """The two findings, apart."""
    return tuple(_card(result, finding) for finding in result.verdict.findings)


def _card(result: AuditResult, finding: Finding) -> FindingCard:
    evidence = result.evidence
    is_counted = evidence is not None and _has_threshold(evidence, finding.name)
    figures: tuple[KeyFigure, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    parts: PartTable | None = None
    if evidence is not None:
        is_rebuilt = finding.name == "rebuilt"
        figures = rebuilt_figures(evidence) if is_rebuilt else membership_figures(evidence)
        details = _rebuilt_details(evidence) if is_rebuilt else _membership_details(evidence)
        parts = ssim_table(evidence.calibrated_threshold) if is_rebuilt else part_table(evidence.membership)
    return FindingCard(
        name=finding.name,
        title=words.FINDING_TITLE[finding.name],
        meaning=MEANING[finding.name],
        status=finding.status,
        status_text=words.FINDING_STATUS[finding.status],
        count=finding.count,
        total=evidence.members if evidence is not None and is_counted else 0,
        low=finding.interval_low,
        high=finding.interval_high,
        allowance=finding.allowance,
        reason=words.plain(finding.reason, 1000),
        figures=figures,
        details=details,
        parts=parts,
    )


def _has_threshold(evidence: Evidence, name: str) -> bool:
    if name == "rebuilt":
        return evidence.calibrated_threshold.ssim is not None
    return evidence.membership.applicable and evidence.membership.threshold is not None


def rebuilt_figures(evidence: Evidence) -> tuple[KeyFigure, ...]:
    """Counts above both thresholds, beside what controls and the placebo reach."""
    calibrated, published = evidence.calibrated_threshold, evidence.published_threshold
    scores = evidence.distributions.placebo_ssim
    placebo = NOT_RUN if calibrated.ssim is not None else NO_THRESHOLD
    if calibrated.ssim is not None and scores:
        above = sum(score > calibrated.ssim for score in scores)
        placebo = Cell(f"{words.of(above, len(scores))} scores")
    is_set = calibrated.ssim is not None
    name = f"SSIM above {calibrated.ssim:.3f} (calibrated)" if calibrated.ssim is not None else "calibrated threshold"
    leaked = published.placebo_leaked
    return (
        KeyFigure(
            name,
            Cell(words.of(calibrated.members_leaked, evidence.members)) if is_set else NO_THRESHOLD,
            _controls(evidence, calibrated.cross_fit, calibrated.controls_leaked) if is_set else NO_THRESHOLD,
            placebo,
        ),
        KeyFigure(
            f"SSIM above {published.ssim:g} (published)",
            Cell(words.of(published.members_leaked, evidence.members)),
            _controls(evidence, None, published.controls_leaked),
            NOT_RUN if leaked is None else Cell(f"{leaked:.1f} of {evidence.members:,} (mean)"),
        ),
    )


def membership_figures(evidence: Evidence) -> tuple[KeyFigure, ...]:
    """Counts below the distance threshold; the placebo concerns searches, so it does not apply."""
    membership = evidence.membership
    if not membership.applicable:
        return (KeyFigure("distance below threshold", NOT_APPLICABLE, NOT_APPLICABLE, NOT_APPLICABLE),)
    if membership.threshold is None:
        return (KeyFigure("distance below threshold", NO_THRESHOLD, NO_THRESHOLD, NOT_APPLICABLE),)
    return (
        KeyFigure(
            f"distance below {words.number(membership.threshold, 4)}",
            Cell(words.of(membership.members_found, evidence.members)),
            _controls(evidence, membership.cross_fit, membership.controls_found),
            NOT_APPLICABLE,
        ),
    )


def _controls(evidence: Evidence, cross_fit: CrossFit | None, in_sample: int) -> Cell:
    return Cell(controls_text(cross_fit, in_sample, evidence.controls)) if evidence.controls else NOT_RUN


def _rebuilt_details(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    calibrated = evidence.calibrated_threshold
    if calibrated.ssim is None:
        return (("Calibrated threshold", words.plain(calibrated.reason, 600) or words.NOT_RUN),)
    return (
        ("Stated false-positive rate", words.rate(calibrated.fpr)),
        ("Clopper-Pearson 95 %", f"{calibrated.interval_low:.1f} to {calibrated.interval_high:.1f} records"),
        ("Exact test, members against controls", f"p = {words.p_value(calibrated.p_value)}"),
        ("Quantile of controls", words.number(calibrated.control_quantile, 3)),
        ("Quantile of the placebo", words.number(calibrated.placebo_quantile, 3)),
        *rebuilt_null_details(evidence),
    )


def _membership_details(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    membership = evidence.membership
    if not membership.applicable:
        return (("Why not", words.plain(membership.reason, 600)),)
    return (
        ("Stated false-positive rate", words.rate(membership.fpr)),
        ("Clopper-Pearson 95 %", f"{membership.interval_low:.1f} to {membership.interval_high:.1f} records"),
        ("Exact test, members against controls", f"p = {words.p_value(membership.p_value)}"),
        ("AUC", words.number(membership.auc, 3)),
        ("Method", words.plain(membership.method)),
        *cross_fit_details(membership.cross_fit),
    )


def class_rows(evidence: Evidence | None) -> tuple[ClassRow, ...]:
    """Counts per label, in its order; empty where there are no labels."""
    if evidence is None:
        return ()
    labelled = [record for record in evidence.records if record.label is not None]
    published = evidence.published_threshold.ssim
    is_readable = evidence.membership.applicable and evidence.membership.threshold is not None
    total = _count(record.label for record in labelled)
    rebuilt = _count(record.label for record in labelled if record.leaked)
    above = _count(record.label for record in labelled if record.ssim > published)
    readable = _count(record.label for record in labelled if record.membership_found)
    return tuple(
        ClassRow(label, total[label], rebuilt[label], above[label], readable[label] if is_readable else None)
        for label in sorted(total)
    )


def _count(labels: Iterable[int | None]) -> Counter[int]:
    return Counter(label for label in labels if label is not None)


def coverage(result: AuditResult) -> tuple[CoverageItem, ...]:
    """What was run and what was not, each with a word on it."""
    evidence, attack = result.evidence, result.attack
    items = [
        CoverageItem(
            f"Attack: {words.plain(run.objective)}",
            "failed" if run.status == "non_finite" else "done",
            f"{words.plain(run.status).replace('_', ' ')}; {words.images(run.restarts, 'restart')}, "
            f"{words.images(run.reconstructions, 'reconstruction')}, {words.duration(run.seconds)}",
        )
        for run in attack.runs
    ]
    items += [
        CoverageItem(f"Attack: {words.plain(name)}", "not_run", "applies to this network")
        for name in not_run(result.preflight, attack)
    ]
    items += [
        CoverageItem(f"Attack: {words.plain(name)}", "not_applicable", "not needed: restarts agreed and were refined")
        for name in refined_instead(result.preflight, attack)
    ]
    if not result.preflight.applicable:
        items.append(
            CoverageItem("Reconstruction", "not_applicable", words.plain(" ".join(result.preflight.reasons), 600))
        )
    if evidence is None:
        missing = "needs the training images (--reference)"
        items += [CoverageItem(name, "not_run", missing) for name in ("Comparison with training images", "Membership")]
        items.append(CoverageItem("Controls and placebo", "not_run", missing))
    else:
        items += _evidence_coverage(evidence)
    return (*items, *_instrument_coverage(result))


def _evidence_coverage(evidence: Evidence) -> list[CoverageItem]:
    membership = evidence.membership
    n_placebo = len(evidence.distributions.placebo_ssim)
    return [
        CoverageItem("Comparison with training images", "done", words.images(evidence.members)),
        CoverageItem(
            "Controls",
            "done" if evidence.controls else "not_run",
            words.images(evidence.controls) if evidence.controls else "none were given (--control)",
        ),
        CoverageItem(
            "Placebo", "done" if n_placebo else "not_run", words.images(n_placebo, "score") if n_placebo else "no draws"
        ),
        CoverageItem(
            "Membership",
            "done" if membership.applicable else "not_applicable",
            words.plain(membership.method if membership.applicable else membership.reason, 600),
        ),
    ]


def _instrument_coverage(result: AuditResult) -> list[CoverageItem]:
    states: dict[str, State] = {"passed": "done", "failed": "failed", "not_run": "not_run"}
    positive, negative = result.instrument.positive_control, result.instrument.negative_control
    return [
        CoverageItem(
            "Positive control",
            states[positive],
            f"{words.CONTROL_STATE[positive]}: a model known to leak must be caught",
        ),
        CoverageItem(
            "Negative control",
            states[negative],
            f"{words.CONTROL_STATE[negative]}: a model that cannot leak must not be caught",
        ),
    ]
