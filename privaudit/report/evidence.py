"""Which pictures a report shows, and how each is described in words.

In: an `AuditResult` and its `Pictures`. Out: triples (rebuilt, training image, nearest control) best first and as many
drawn at random, or a grid of reconstructions where there was no reference. Must not know markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.report import words
from privaudit.report.interface import ReportOptions
from privaudit.report.pictures import SHEET_COLUMNS, SHOWN_SIDE, Pictures, data_uri, sheet_uri
from privaudit.result import AuditResult, EvidenceRecord

PUBLIC = (
    "This report was made to be published, so it carries no training image, no rebuilt image and no name of a record. "
    "Whoever ordered the audit holds the report that has them."
)

MOST_ON_A_SHEET = 500
"""Pairs on one sheet, best first."""

N_GRID = 48
"""Reconstructions shown without a reference: two screens of a phone, one of a desk."""


@dataclass(frozen=True)
class Shown:
    """One picture: what it is, its `src` (None where there is none) and its alternative text."""

    role: str
    uri: str | None
    alt: str


@dataclass(frozen=True)
class Triple:
    """Pictures of one record, left to right, and the numbers under them."""

    record: str
    label: str
    ssim: str
    is_leaked: bool | None
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class Sheet:
    """Many records in one picture: rebuilt above, training image below, best first."""

    title: str
    uri: str
    alt: str
    note: str
    n_columns: int


@dataclass(frozen=True)
class EvidenceView:
    """What the evidence section shows. `absent` says why there is nothing; `note` how the pictures were treated."""

    best: tuple[Triple, ...] = ()
    drawn: tuple[Triple, ...] = ()
    grid: tuple[Shown, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    n_available: int = 0
    note: str = ""
    absent: str = ""


def evidence_view(result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> EvidenceView:
    """Choose and describe the pictures."""
    if options.public:
        return EvidenceView(absent=PUBLIC)
    if pictures is None:
        return EvidenceView(absent="The file reconstructions.safetensors was not found beside result.json.")
    if len(pictures.images) == 0:
        return EvidenceView(absent="The attack returned no pictures.")
    note = _note(pictures, options)
    if result.evidence is None or pictures.record_index is None or len(pictures.record_index) == 0:
        return EvidenceView(grid=_grid(pictures, options), n_available=len(pictures.images), note=note)
    records, index = result.evidence.records, pictures.record_index
    by_score = sorted(range(len(index)), key=lambda row: -records[index[row]].ssim)
    n_shown = min(options.n_shown, len(by_score))
    drawn = np.random.default_rng(options.seed).choice(len(by_score), size=n_shown, replace=False)
    return EvidenceView(
        best=tuple(_triple(result, pictures, row, options) for row in by_score[:n_shown]),
        drawn=tuple(_triple(result, pictures, int(row), options) for row in drawn),
        sheets=_sheets(result, pictures, by_score, options) if len(by_score) > n_shown else (),
        n_available=len(by_score),
        note=note,
    )


def _sheets(result: AuditResult, pictures: Pictures, order: Sequence[int], options: ReportOptions) -> tuple[Sheet, ...]:
    """One sheet of the records that count as rebuilt and one of the others; one of all where nothing was counted."""
    assert result.evidence is not None
    assert pictures.record_index is not None
    assert pictures.record_images is not None
    records = [(row, result.evidence.records[pictures.record_index[row]]) for row in order]
    records = [(row, record) for row, record in records if record.reconstruction >= 0]
    if result.evidence.calibrated_threshold.ssim is None:
        groups = {"All records": records}
    else:
        groups = {
            "Counted as rebuilt": [pair for pair in records if pair[1].leaked],
            "Not counted as rebuilt": [pair for pair in records if not pair[1].leaked],
        }
    sheets = []
    for title, group in groups.items():
        shown = group[:MOST_ON_A_SHEET]
        if not shown:
            continue
        pairs = [(pictures.images[record.reconstruction], pictures.record_images[row]) for row, record in shown]
        scores = f"SSIM {shown[0][1].ssim:.2f} to {shown[-1][1].ssim:.2f}"
        left_out = f"; the {len(group) - len(shown):,} after them are not shown" if len(group) > len(shown) else ""
        sheets.append(
            Sheet(
                f"{title} ({len(group):,})",
                sheet_uri(pairs, options.reveal),
                f"{words.images(len(shown), 'record')}, rebuilt picture above training image, {scores}"
                + ("" if options.reveal else " (blurred)"),
                f"Best first, row by row, {scores}; in each pair the rebuilt picture is above its training "
                f"image{left_out}.",
                min(SHEET_COLUMNS, len(shown)),
            )
        )
    return tuple(sheets)


def _note(pictures: Pictures, options: ReportOptions) -> str:
    height, width = pictures.images.shape[-2:]
    if not options.reveal:
        return (
            "Pictures are blurred because they may show people: this file holds a few block averages of each instead "
            "of its pixels, so the blur cannot be undone."
        )
    if max(height, width) > SHOWN_SIDE:
        return f"Pictures of {width} x {height} pixels are reduced to {SHOWN_SIDE} on their long side."
    return f"Pictures are shown at their own {width} x {height} pixels, enlarged without smoothing."


def _triple(result: AuditResult, pictures: Pictures, row: int, options: ReportOptions) -> Triple:
    assert result.evidence is not None
    assert pictures.record_index is not None
    assert pictures.record_images is not None
    assert pictures.control_images is not None
    record = result.evidence.records[pictures.record_index[row]]
    rebuilt = pictures.images[record.reconstruction] if record.reconstruction >= 0 else None
    name = words.plain(record.id, 24)
    is_calibrated = result.evidence.calibrated_threshold.ssim is not None
    control = pictures.control_images[row] if result.evidence.controls else None
    return Triple(
        record=name,
        label=words.NOT_MEASURED if record.label is None else str(record.label),
        ssim=f"{record.ssim:.3f}",
        is_leaked=record.leaked if is_calibrated else None,
        pictures=(
            _shown("rebuilt", rebuilt, f"Rebuilt picture for record {name}, {_alike(record)}", options),
            _shown("training image", pictures.record_images[row], f"Training image of record {name}", options),
            _shown("nearest control", control, f"Control nearest to the picture rebuilt for record {name}", options),
        ),
    )


def _alike(record: EvidenceRecord) -> str:
    return f"SSIM {record.ssim:.2f} to the training image"


def _grid(pictures: Pictures, options: ReportOptions) -> tuple[Shown, ...]:
    order = np.argsort(-pictures.confidence, kind="stable")[:N_GRID]
    return tuple(
        _shown(
            f"{rank}", pictures.images[i], f"Reconstruction {rank}, confidence {pictures.confidence[i]:.2f}", options
        )
        for rank, i in enumerate(order, start=1)
    )


def _shown(role: str, pixels: NDArray[np.generic] | None, alt: str, options: ReportOptions) -> Shown:
    if pixels is None:
        return Shown(role, None, f"{alt}: there is none")
    return Shown(role, data_uri(pixels, options.reveal), alt if options.reveal else f"{alt} (blurred)")
