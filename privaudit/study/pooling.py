"""Seeds of one point taken together, and whether two points can be told apart.

In: outcomes of cells. Out: shares with intervals, ranges over seeds, and one of four answers to "do these differ". Must
not know files or figures. numpy-free; the interval is that of `privaudit.statistics`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Literal

from privaudit.statistics import counts_interval
from privaudit.study.outcome import CellOutcome, ScanCounts, StudyModel

LEAST_SEEDS = 3
"""Seeds of each of two points below which nothing is said about their difference."""

SeparationStatus = Literal["separated", "not_separated", "fewer_than_three_seeds", "not_measured"]


class Share(StudyModel):
    """A pooled share.

    Attributes:
        found: images counted over all seeds, of `total`.
        low: and `high`, Clopper–Pearson 95 % bounds on the share, in [0, 1], of the pooled counts.
        by_seed: the share of each seed, in the order of the seeds.
    """

    found: int
    total: int
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def share(self) -> float:
        """Pooled, in [0, 1]; 0 of none."""
        return self.found / self.total if self.total else 0.0


class Range(StudyModel):
    """A number over seeds: mean, smallest and largest."""

    mean: float
    low: float
    high: float


class Separation(StudyModel):
    """Whether a point's share of rebuilt images differs from that of the row's baseline.

    Attributes:
        other: label of the baseline.
        status: `separated` only if the pooled intervals do not overlap, every seed of one lies above every seed of the
            other, and both have three seeds at least.
        direction: `above` or `below` the baseline where separated, otherwise empty.
    """

    other: str
    status: SeparationStatus
    direction: Literal["above", "below", ""] = ""


class Pooled(StudyModel):
    """The finished seeds of one point.

    Attributes:
        seeds: that finished; `failed` and `not_run` count the others.
        uncalibrated: why a seed has no calibrated threshold; empty where all have one.
        rebuilt: members above the calibrated threshold, `rebuilt_controls` controls; None where no seed has one.
        published: members above SSIM 0.4, `published_controls` controls.
        readable: members whose membership is readable, `readable_controls` controls; None where it does not apply.
        ssim_median: of each seed's median best SSIM.
        held_out_accuracy: and `accuracy` on the training images, in [0, 1]; None for regression.
        modes: the training that the attack took the networks for, with how many; `verdicts` likewise.
        epsilon: of DP-SGD; None without.
        seconds: of a cell.
    """

    seeds: tuple[int, ...]
    failed: int
    not_run: int
    uncalibrated: str = ""
    rebuilt: Share | None
    rebuilt_controls: Share | None
    published: Share | None
    published_controls: Share | None
    readable: Share | None
    readable_controls: Share | None
    ssim_median: Range | None
    held_out_accuracy: Range | None
    accuracy: Range | None
    epsilon: Range | None
    modes: dict[str, int]
    verdicts: dict[str, int]
    seconds: Range | None


def share_of(counts: Iterable[tuple[int, int]]) -> Share | None:
    """Counts (found, total) of each seed, pooled; None where there are none or nothing was counted."""
    pairs = [(found, total) for found, total in counts if total > 0]
    if not pairs:
        return None
    found, total = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    bounds = counts_interval(found, total)
    return Share(
        found=found,
        total=total,
        low=bounds.low / total,
        high=bounds.high / total,
        by_seed=tuple(one / of for one, of in pairs),
    )


def range_of(values: Iterable[float | None]) -> Range | None:
    """None where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    return Range(mean=min(max(fmean(known), low), high), low=low, high=high)  # rounding may leave the range


def pooled(cells: Sequence[tuple[int, CellOutcome | None]]) -> Pooled:
    """Seeds of one point taken together.

    Args:
        cells: seed and outcome of each cell, None where it has not run.
    """
    done = [(seed, outcome) for seed, outcome in cells if outcome is not None and outcome.status == "done"]
    counts = [outcome.counts for _, outcome in done if outcome.counts is not None]
    trained = [outcome.training for _, outcome in done if outcome.training is not None]
    # Where nothing was reconstructed nothing was rebuilt, whatever the threshold would have been.
    counted = [one for one in counts if one.ssim_threshold is not None or not one.reconstructions]
    readable = [one for one in counts if one.membership_applicable]
    return Pooled(
        seeds=tuple(seed for seed, _ in done),
        failed=sum(outcome is not None and outcome.status == "failed" for _, outcome in cells),
        not_run=sum(outcome is None for _, outcome in cells),
        uncalibrated=next((one.threshold_reason for one in counts if one.ssim_threshold is None), ""),
        rebuilt=share_of((one.members_leaked, one.members) for one in counted),
        rebuilt_controls=share_of((one.controls_leaked, one.controls) for one in counted),
        published=share_of((one.published_members, one.members) for one in counts),
        published_controls=share_of((one.published_controls, one.controls) for one in counts),
        readable=share_of((one.membership_found, one.members) for one in readable),
        readable_controls=share_of((one.membership_controls, one.controls) for one in readable),
        ssim_median=range_of(one.ssim_median for one in counts),
        held_out_accuracy=range_of(one.held_out_accuracy for one in trained),
        accuracy=range_of(one.accuracy for one in trained),
        epsilon=range_of(one.epsilon for one in trained),
        modes=_tally(counts, lambda one: one.mode),
        verdicts=_tally(counts, lambda one: one.verdict),
        seconds=range_of(outcome.seconds for _, outcome in done),
    )


def _tally(counts: Iterable[ScanCounts], name: Callable[[ScanCounts], str]) -> dict[str, int]:
    return dict(sorted(Counter(name(one) for one in counts).items()))


def separation(one: Share | None, other: Share | None, other_label: str) -> Separation:
    """Whether `one` can be told from `other`, the baseline's."""
    if one is None or other is None:
        return Separation(other=other_label, status="not_measured")
    if min(len(one.by_seed), len(other.by_seed)) < LEAST_SEEDS:
        return Separation(other=other_label, status="fewer_than_three_seeds")
    if one.low > other.high and min(one.by_seed) > max(other.by_seed):
        return Separation(other=other_label, status="separated", direction="above")
    if one.high < other.low and max(one.by_seed) < min(other.by_seed):
        return Separation(other=other_label, status="separated", direction="below")
    return Separation(other=other_label, status="not_separated")
