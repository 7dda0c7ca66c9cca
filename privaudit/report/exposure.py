"""The exposure section: with which multipliers held images explain the weights.

In: an `AuditResult`. Out: sentences and rows. Must not know markup, pictures or files.
"""

from dataclasses import dataclass

from privaudit.report import words
from privaudit.result import AuditResult, Evidence, Exposure

N_LISTED = 10
"""Most exposed training images that are listed by name."""

_BARELY = 0.5
"""Share of the weights from which the reference can be said to explain them (METHOD 5: true data reach 0.9)."""


@dataclass(frozen=True)
class ExposureRow:
    """One of the most exposed training images."""

    rank: int
    record: str
    multiplier: str
    is_readable: bool


@dataclass(frozen=True)
class ExposureView:
    """The section. `absent` says why there is nothing else; `absent_kind` whether it was not run or does not apply."""

    sentences: tuple[str, ...] = ()
    shares: tuple[tuple[str, str], ...] = ()
    rows: tuple[ExposureRow, ...] = ()
    absent: str = ""
    absent_kind: str = "not_run"


def exposure_view(result: AuditResult) -> ExposureView:
    """What exposure says, weaker than a rebuilt image and said so."""
    evidence = result.evidence
    if evidence is None:
        return ExposureView(absent="No reference images were given, so there are none to hold against the weights.")
    exposure = evidence.membership.exposure
    if exposure is None:
        return ExposureView(absent="This result was written before exposure was measured.")
    if not exposure.applicable:
        return ExposureView(absent=words.plain(exposure.reason, 600))
    return ExposureView(_sentences(evidence, exposure), _shares(evidence, exposure), _rows(evidence))


def _sentences(evidence: Evidence, exposure: Exposure) -> tuple[str, ...]:
    n_all = evidence.members + evidence.controls
    among = sum((r.exposure_rank or n_all) <= evidence.members for r in evidence.records)
    said = [
        "Training images and controls were held fixed side by side, and only the weight of each in the sum that makes "
        "up the network was solved for. Nothing is rebuilt here: this is a weaker finding than a rebuilt image.",
        f"Of the {evidence.members:,} most exposed images {among:,} are training images; with nothing to read about "
        f"{evidence.members**2 / n_all:.0f} would be.",
    ]
    share = exposure.explained_by_members
    if share is not None and share < _BARELY:
        said.append(
            f"The reference alone explains {_percent(share)} of the weights. Where the true training data cannot "
            "explain a network, an attack on this equation proves nothing by failing."
        )
    return (*said, *((words.plain(exposure.reason, 600),) if exposure.reason else ()))


def _shares(evidence: Evidence, exposure: Exposure) -> tuple[tuple[str, str], ...]:
    n_controls = min(evidence.members, evidence.controls)
    how = "directly" if exposure.iterations == 0 else f"in {exposure.iterations} iterations of LSQR"
    return (
        ("Explained by the reference alone", _percent(exposure.explained_by_members)),
        (f"Explained by {n_controls:,} controls alone", _percent(exposure.explained_by_controls)),
        ("Explained by all together", _percent(exposure.explained)),
        ("Solved", how),
    )


def _percent(share: float | None) -> str:
    return words.NOT_MEASURED if share is None else f"{share:.1%}"


def _rows(evidence: Evidence) -> tuple[ExposureRow, ...]:
    ranked = [r for r in evidence.records if r.exposure_rank is not None and r.multiplier is not None]
    ranked.sort(key=lambda record: record.exposure_rank or 0)
    return tuple(
        ExposureRow(r.exposure_rank or 0, words.plain(r.id, 24), f"{r.multiplier:.4g}", r.membership_found)
        for r in ranked[:N_LISTED]
    )
