"""One distance out of several statistics, on a scale that controls alone set.

In: scores of controls and of other images. Out: distances, lower is more member-like. numpy only; must not know where
scores come from, nor use those of members to set anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

LEAST_CONTROLS = 40
"""Below it the tail that is extrapolated would rest on fewer than five scores; a single statistic is used then."""

_TAIL = 10  # one in ten controls makes the tail: 10 to 50 scores of 100 to 500 controls
_LEAST_TAIL = 5
_LEAST_LOG = -690.0  # exp of it is still a number


@dataclass(frozen=True)
class Part:
    """One statistic of all images; higher is more member-like, any real number. `controls` is None without controls."""

    name: str
    members: Scores
    controls: Scores | None


@dataclass(frozen=True)
class _Tail:
    """The upper tail of n scores: `start` is the k-th largest, `excess` the mean distance of those above it.

    One tail for all images (floats), or one for each (arrays).
    """

    n: Scores | float
    k: Scores | float
    start: Scores | float
    excess: Scores | float

    def log_p(self, score: Scores, at_least: Scores) -> Scores:
        """Log of the chance that a non-member reaches `score`; `at_least`: how many of the n do.

        By rank up to the tail, and beyond with an exponential tail (Pickands 1975 with shape 0), because ranks alone
        cannot tell a score just above every control from one far above.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = np.log(self.k / (self.n + 1)) - np.where(
                self.excess > 0, (score - self.start) / self.excess, np.zeros_like(score)
            )
        ranked = np.log((at_least + 1) / (self.n + 1))
        chosen: Scores = np.where(score > self.start, beyond, ranked)
        return chosen


def log_p_values(controls: Scores, others: Scores) -> tuple[Scores, Scores]:
    """Log p-values of other images against all controls, and of every control against the other controls.

    A control is judged without itself, as a fresh image would be: left in, the most extreme ones would stretch the tail
    that they are measured by, and a fresh image would pass them too easily.

    Args:
        controls: (n,), n at least `LEAST_CONTROLS`.
        others: (m,).
    """
    n = len(controls)
    order = np.argsort(-controls, kind="stable")
    falling = controls[order]
    rising = falling[::-1]
    summed = np.concatenate([[0.0], np.cumsum(falling)])

    def reached_by(scores: Scores) -> Scores:
        return (n - np.searchsorted(rising, scores, side="left")).astype(np.float64)

    size = max(_LEAST_TAIL, n // _TAIL)
    first = float(falling[size - 1])
    tail = _Tail(float(n), float(size), first, float(summed[size] - size * first) / (size - 1))
    size = max(_LEAST_TAIL, (n - 1) // _TAIL)
    is_top = np.arange(n) < size  # without one of its own the tail reaches one further down
    start = np.where(is_top, falling[size], falling[size - 1])
    total = np.where(is_top, summed[size + 1] - falling, summed[size])
    without = _Tail(np.full(n, n - 1.0), np.full(n, float(size)), start, (total - size * start) / (size - 1))
    own = np.empty(n)
    own[order] = without.log_p(falling, reached_by(falling) - 1)
    return tail.log_p(others, reached_by(others)), own


def combined_distance(parts: Sequence[Part]) -> tuple[Scores, Scores]:
    """The parts' p-values as one distance, `exp(−sqrt(mean_k (log p_k)²))`, in (0, 1].

    Between the smallest p-value (which wastes what several parts say) and Fisher's sum of logs (which a part without
    power dilutes); RESULTS.md compares them. Parts depend on each other, so it is no p-value itself: its threshold
    comes from the controls' own distances.

    Returns:
        Distances of the members and of the controls.
    """
    logs = [log_p_values(part.controls, part.members) for part in parts if part.controls is not None]
    members, controls = (np.sqrt(np.mean([pair[i] ** 2 for pair in logs], axis=0)) for i in (0, 1))
    return np.exp(np.maximum(-members, _LEAST_LOG)), np.exp(np.maximum(-controls, _LEAST_LOG))
