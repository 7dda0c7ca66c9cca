"""How much work a budget means, from the size of the problem alone. Must not know training images."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Plan:
    """Work of one attack, in steps rather than seconds, so that the same seed gives the same images on any machine.

    Attributes:
        rounds: of the multiplier equation; each starts from what the one before agreed on.
        restarts: side by side in a round.
        steps: of every restart.
        span_starts: candidates of the feature span.
        span_steps: of each.
        time_limit_s: stop there whatever is planned; None: no limit.
        refined_restarts: best restarts of the last round that are refined with multipliers tied to the loss.
        refined_stages: after each of which they exchange what they agree on.
        refined_steps: of each in every stage.
        proposed_steps: of the run from the feature span's images, where restarts of the equation never agree.
    """

    rounds: int
    restarts: int
    steps: int
    span_starts: int
    span_steps: int
    time_limit_s: float | None
    refined_restarts: int = 4
    refined_stages: int = 4
    refined_steps: int = 1000
    proposed_steps: int = 3000


_SPAN_FLOOR = 200
_STARTS_PER_IMAGE = 8
_FEW_IMAGES = 50
_ROUNDS = {"quick": 2, "standard": 4, "thorough": 12}
_ROUNDS_BEFORE_REFINEMENT = {"quick": 2, "standard": 3, "thorough": 6}
_REFINED = {"quick": (2, 1, 1000), "standard": (4, 4, 1000), "thorough": (8, 6, 1500)}  # restarts, stages, steps
_PROPOSED = {"quick": 0, "standard": 3000, "thorough": 12000}
_SPAN_SHARE = {"quick": 0.25, "standard": 1.0, "thorough": 4.0}


def plan_for(
    budget: Literal["quick", "standard", "thorough"],
    n_images: int,
    restarts: int | None,
    time_limit_s: float | None,
    is_costly: bool = False,
    is_refined: bool = False,
    is_in_pixels: bool = False,
) -> Plan:
    """The work for an estimated number of training images.

    Feature-span starts grow with the images there are to find. On 500 images 4,000 starts of 500 steps put more
    records above both thresholds than 3,000 of 1,000 steps (benchmarks/RESULTS.md).

    Args:
        budget: how much is wanted.
        n_images: estimated number of training images.
        restarts: of the equation side by side, or None.
        time_limit_s: or None.
        is_costly: the equation runs on a whole module, at a hundred times the price of a step inside a span.
        is_refined: the equation's best restarts will be refined, so that fewer rounds do.
        is_in_pixels: the feature span is searched in all pixels, where a search needs longer to end (behind a
            convolution 1,000 steps show more of 20 and 50 images than 500; of 100, twice as many starts do).
    """
    starts = max(_SPAN_FLOOR, _STARTS_PER_IMAGE * n_images) * _SPAN_SHARE[budget]
    n_rounds = (_ROUNDS_BEFORE_REFINEMENT if is_refined else _ROUNDS)[budget]
    rounds, side_by_side = (2, 2) if is_costly else (n_rounds, 8)
    span_steps = 1000 if is_in_pixels and n_images <= _FEW_IMAGES else 500
    refined = (*_REFINED[budget], _PROPOSED[budget])
    return Plan(rounds, restarts or side_by_side, 500, int(starts), span_steps, time_limit_s, *refined)
