"""The sum of gradients of an MLP in chunks of candidates: memory that does not grow with their number (METHOD 2).

With the residual `r = W − Σ BᵀH` of the sum over all candidates held constant, the gradient of `‖r‖²` for one chunk is
that of `−2 ⟨r, BᵀH⟩` over that chunk alone. So a first pass without a graph adds up the sums, and a second builds the
graph of one chunk after the other. Exact, at the price of a second forward pass. Must not know training images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.objectives.gradient_sum import Pass, RelativeResiduals, ReluMlpSum
from privaudit.objectives.interface import Variables

MEMORY_LIMIT = 512 * 2**20  # bytes of the graph of a step: 1,000 images of 3×32×32 over all pixels in one piece
_COPIES = 9  # of every layer's inputs and outputs alive at the peak of a step, measured (benchmarks/memory_curve.py)

Run = Callable[[Variables], tuple[Pass, list[Tensor]]]
"""From the variables of some candidates to their forward pass and back-signals."""


def chunk_size(whole: ReluMlpSum, n_restarts: int, limit: int = MEMORY_LIMIT) -> int:
    """Candidates, of every restart, whose graph fits into `limit` bytes; at least 1."""
    values = sum(sum(layer.weight.shape) for layer in whole.layers)
    return max(1, limit // (_COPIES * values * whole.layers[0].weight.element_size() * n_restarts))


def parts(variables: Variables, size: int) -> Iterator[tuple[slice, Variables]]:
    """Chunks of candidates: their place, and the variables of theirs. What is one number a restart stays whole."""
    m = variables["coordinates"].shape[1]
    for begin in range(0, m, size):
        place = slice(begin, min(begin + size, m))
        yield place, {k: v[:, place] if v.shape[1] == m else v for k, v in variables.items()}


@dataclass(frozen=True)
class Left:
    """What the sum over all candidates leaves of every layer: (R, n_out, n_in), and (R, n_out) or None."""

    weights: list[Tensor]
    biases: list[Tensor | None]


def left_of(whole: ReluMlpSum, run: Run, variables: Variables, size: int) -> Left:
    """Add up the sums over all chunks, without a graph."""
    n_restarts = len(variables["coordinates"])
    weights = [layer.weight.expand(n_restarts, -1, -1).clone() for layer in whole.layers]
    biases = [None if layer.bias is None else layer.bias.expand(n_restarts, -1).clone() for layer in whole.layers]
    with torch.no_grad():
        for _, part in parts(variables, size):
            done, signals = run(part)
            for weight, bias, hidden, signal in zip(weights, biases, done.hidden, signals, strict=True):
                weight.baddbmm_(signal.mT, hidden, alpha=-1)
                if bias is not None:
                    bias -= signal.sum(-2)
    return Left(weights, biases)


def relative(whole: ReluMlpSum, left: Left) -> RelativeResiduals:
    """The same as `ReluMlpSum.relative_residuals` of all candidates at once."""
    return [
        (
            (weight**2).sum((-1, -2)) / layer.squared_norm,
            None if bias is None else (bias**2).sum(-1) / layer.bias_squared_norm,
        )
        for layer, weight, bias in zip(whole.layers, left.weights, left.biases, strict=True)
    ]


def energy(whole: ReluMlpSum, left: Left) -> Tensor:
    """(R,) size of the sum itself: importance-weighted squares of `W − r`, relative to the weights'."""
    terms = [
        importance * ((layer.weight - weight) ** 2).sum((-1, -2)) / layer.squared_norm
        for importance, layer, weight in zip(whole.importance, whole.layers, left.weights, strict=True)
    ]
    return torch.stack(terms).sum(0)


def _linear(whole: ReluMlpSum, left: Left, run: Pass, signals: list[Tensor]) -> Tensor:
    """() `−2 ⟨r, BᵀH⟩` over layers, weighted as the loss: its gradient is this chunk's share of the loss's."""
    total = torch.zeros_like(signals[0][0, 0, 0])
    for index, (layer, importance) in enumerate(zip(whole.layers, whole.importance, strict=True)):
        signal, weight, bias = signals[index], left.weights[index], left.biases[index]
        along = ((run.hidden[index] @ weight.mT) * signal).sum()
        total = total - 2 * importance / layer.squared_norm * along
        if bias is not None:
            factor = importance * whole.bias_importance / layer.bias_squared_norm
            total = total - 2 * factor * (signal.sum(-2) * bias).sum()
    return total


def backward(
    whole: ReluMlpSum, run: Run, penalty: Callable[[Tensor], Tensor], variables: Variables, size: int
) -> Tensor:
    """Set `grad` of the variables that want one.

    Args:
        whole: the sum.
        run: of a chunk of variables.
        penalty: prior of (R, n, rank) coordinates, (R, n); its mean over all candidates is part of the loss.
        variables: of all candidates.
        size: candidates a chunk.

    Returns:
        (R,) losses, detached.
    """
    fixed = {k: v.detach() for k, v in variables.items()}
    wanted = [k for k, v in variables.items() if v.requires_grad]
    left = left_of(whole, run, fixed, size)
    loss, m = whole.weighted(relative(whole, left)), variables["coordinates"].shape[1]
    for name in wanted:
        variables[name].grad = torch.empty_like(fixed[name])
    for place, part in parts(fixed, size):
        leaves = {k: v.requires_grad_() if k in wanted else v for k, v in part.items()}
        prior = penalty(leaves["coordinates"]).sum(-1) / m
        total = _linear(whole, left, *run(leaves)) + prior.sum()
        gradients = torch.autograd.grad(total, [leaves[k] for k in wanted], materialize_grads=True)
        for name, gradient in zip(wanted, gradients, strict=True):
            variables[name].grad[:, place] = gradient  # type: ignore[index]
        loss = loss + prior.detach()
    return loss
