"""Random networks of the shape that trained ones have, for what depends on sizes alone: time and memory of a step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.networks import ReluMlp, linear_layer
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.objectives.span_equation import SpanEquation
from privaudit.spans import SearchSpace

CANDIDATES_PER_IMAGE = 1.25  # as in a scan


@dataclass(frozen=True)
class Size:
    """A problem's size.

    Attributes:
        n: training images, the rank of the first two layers.
        side: of a square image with three channels: d = 3 side².
        width: of both hidden layers.
        outputs: K.
        restarts: side by side.
    """

    n: int = 50
    side: int = 32
    width: int = 1000
    outputs: int = 10
    restarts: int = 1

    @property
    def d(self) -> int:
        """Inputs of the network."""
        return 3 * self.side**2


def low_rank(n_out: int, n_in: int, rank: int, generator: torch.Generator) -> Tensor:
    """(n_out, n_in) normal factors, rows of unit norm on average."""
    rank = min(rank, n_out, n_in)
    left, right = (torch.randn(shape, generator=generator) for shape in ((n_out, rank), (rank, n_in)))
    return left @ right / (rank * n_in) ** 0.5


def equation(size: Size, n_candidates: int | None = None, memory_limit: int | None = None) -> SpanEquation:
    """d-width-width-K in the span of its first layer; a bias in that layer alone."""
    generator = torch.Generator().manual_seed(0)
    weights = [
        low_rank(size.width, size.d, size.n, generator),
        low_rank(size.width, size.width, size.n, generator),
        low_rank(size.outputs, size.width, size.outputs, generator),
    ]
    network = ReluMlp([linear_layer(w, None if k else 0.1 * torch.randn(size.width, generator=generator))
                       for k, w in enumerate(weights)])  # fmt: skip
    network.requires_grad_(False)
    rank = min(size.n, size.d, size.width)
    decoder = torch.linalg.qr(torch.randn(size.d, rank, generator=generator))[0].T.contiguous()
    shape = (3, size.side, size.side)
    space = SearchSpace(decoder, torch.full((rank,), 0.2 * (size.d / rank) ** 0.5), shape)
    known = AttackerKnowledge(torch.full(shape, 0.5), torch.ones(shape), ())
    m = n_candidates or round(CANDIDATES_PER_IMAGE * size.n)
    options = {} if memory_limit is None else {"memory_limit": memory_limit}
    return SpanEquation("general_loss", network, space, known, m, **options)
