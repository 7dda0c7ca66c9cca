"""Exposure: the multipliers with which images held explain the weights, without rebuilding any (METHOD 5).

A stationary point is a weighted sum of its training images' gradients. Members and controls are held fixed together and
only their multipliers are solved for, `min_c ‖θ − Σ c_i g_i‖² + δ ‖c‖²`, on gradients that are never stored
(`gradients.py`). Convex, nothing tuned; members carry the weight and others do not (ImpMIA, arXiv
2510.10625; one damped problem over all relative weights instead of a cosine in blocks). Members and controls enter
alike: which is which is known only to whoever reads the multipliers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from privaudit.applicability import normalisations
from privaudit.membership.gradients import AbstractGradients, gradients_of, head_gradients
from privaudit.text import one_line

_ITERATIONS = 20  # of LSQR; 40 find no more (benchmarks/RESULTS.md)
_LEAST_ITERATIONS = 8
_PASSES = 14  # forward passes that an iteration costs (forward, backward, with tangents: 7), the shorter fits included
_FLOPS = {"cpu": 6e13, "cuda": 2e16}  # a quarter of an hour at most on two cores
_MOST_PARAMETERS = 150_000_000  # LSQR keeps four float64 vectors of that length
_NORMALISED = (
    "Behind a normalisation the scale of a weight has no effect, so weight decay is not balanced by the gradient and "
    "the equation does not hold there."
)
_HEAD_ONLY = f"{_NORMALISED} Multipliers and shares are of the last layer's weights, the only ones behind it."


@dataclass(frozen=True)
class Exposure:
    """Multipliers of members and controls, and what they explain.

    Attributes:
        members: (N,) multipliers in units of a typical gradient; higher is more exposed.
        controls: (n,) the same.
        explained: share of the relative squared weights that all images explain together, at most 1.
        explained_by_members: that members alone explain: 1 minus the stationarity residual of the reference, squared.
        explained_by_controls: that as many controls explain alone (all, where there are fewer).
        iterations: of LSQR; 0 where the problem was solved directly.
        reason: what limits the reading; empty where nothing is known to.
    """

    members: NDArray[np.float64]
    controls: NDArray[np.float64]
    explained: float
    explained_by_members: float
    explained_by_controls: float
    iterations: int
    reason: str


def exposure(
    module: nn.Module, members: Tensor, controls: Tensor, on_progress: Callable[[float], None] = lambda _: None
) -> Exposure | str:
    """Solve for the multipliers of all images.

    Args:
        module: with the parameters that were trained, in evaluation mode.
        members: (N, C, H, W) network inputs.
        controls: (n, C, H, W), at least one.
        on_progress: told the share done.

    Returns:
        The multipliers, or one sentence why they were not solved for.
    """
    inputs = torch.cat([members, controls])
    n_parameters = sum(parameter.numel() for parameter in module.parameters())
    if n_parameters > _MOST_PARAMETERS:
        return f"The network has {n_parameters:,} parameters, more than the {_MOST_PARAMETERS:,} that fit."
    try:
        head = head_gradients(module, inputs) if normalisations(module) else None
        if head is not None:
            return _solved(head, len(members), _ITERATIONS, _HEAD_ONLY, on_progress)
        iterations = _affordable(module, inputs)
        if iterations < _LEAST_ITERATIONS:
            return f"{len(inputs)} images of this size would take too long here; a GPU or fewer controls would do."
        reason = _NORMALISED if normalisations(module) else ""
        return _solved(gradients_of(module, inputs), len(members), iterations, reason, on_progress)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return f"Torch cannot differentiate this network both ways: {one_line(error, 120)}."


def _affordable(module: nn.Module, inputs: Tensor) -> int:
    """Iterations that fit into the arithmetic that is planned: the same number whatever else the machine does."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(inputs[:1])
    per_iteration = max(1, counter.get_total_flops()) * _PASSES * len(inputs)
    return min(_ITERATIONS, int(_FLOPS.get(inputs.device.type, _FLOPS["cpu"]) / per_iteration))


def _solved(
    gradients: AbstractGradients, n_members: int, iterations: int, reason: str, on_progress: Callable[[float], None]
) -> Exposure:
    is_member = np.arange(gradients.n_images) < n_members
    as_many = ~is_member & (np.arange(gradients.n_images) < 2 * n_members)
    done, planned = 0, 2 * iterations + 3  # LSQR starts with a product of its own

    def step() -> None:
        nonlocal done
        done += 1
        on_progress(min(1.0, done / planned))

    together = gradients.fit(np.ones(gradients.n_images, dtype=bool), iterations, step)
    alone = [gradients.fit(mask, iterations // 2, step).explained for mask in (is_member, as_many)]
    on_progress(1.0)
    return Exposure(
        together.multipliers[:n_members],
        together.multipliers[n_members:],
        together.explained,
        alone[0],
        alone[1],
        together.iterations,
        reason,
    )
