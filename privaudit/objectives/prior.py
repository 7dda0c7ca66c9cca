"""The image prior: neighbouring pixels are alike, and pixels lie inside the input range.

Knows a search space and the preprocessing; no networks, no training images.
"""

import torch
from torch import Tensor

from privaudit.objectives.interface import AttackerKnowledge
from privaudit.spans import SearchSpace, roughness_form

_STRIDE = 8  # the range of every eighth pixel a step, another eighth in the next

_EDGE_POWER = 0.8  # of gradients; 0.6 does as well (benchmarks/RESULTS.md)
_EDGE_FLOOR = 0.02  # of a gradient, in pixels: 5 of 255, where noise begins


class SpanPrior:
    """Total variation as a quadratic form of the coordinates, and the range penalty on a rotating part of the pixels.

    Decoding all pixels would cost as much as the whole equation; the form is exact, the rotating part unbiased.
    """

    def __init__(self, space: SearchSpace, knowledge: AttackerKnowledge, variation: float, beyond: float) -> None:
        """Prepare the form.

        Args:
            space: a span with a decoder.
            knowledge: pixels of an input.
            variation: weight of the mean squared neighbour difference of pixels.
            beyond: weight of the summed squared excess over [0, 1], per image.
        """
        assert space.decoder is not None
        self._variation, self._beyond = variation, beyond
        channels, height, width = space.shape
        std = knowledge.std.expand(space.shape).to(space.decoder)
        self._mean = knowledge.mean.expand(space.shape).to(space.decoder).flatten()
        self._decoder = (space.decoder * std.flatten()).contiguous()
        stacked = torch.cat([self._decoder, self._mean[None]])
        form = roughness_form(stacked, space.shape)
        n_pairs = (channels * (2 * height * width - height - width)) / 2
        self._form, self._cross = form[:-1, :-1] / n_pairs, form[:-1, -1] / n_pairs
        self._constant = float(form[-1, -1] / n_pairs)
        self._parts = [
            (self._decoder[:, k::_STRIDE].contiguous(), self._mean[k::_STRIDE].contiguous()) for k in range(_STRIDE)
        ]

    def per_image(self, points: Tensor, step: int) -> Tensor:
        """(..., rank) points in input units to (...) penalties."""
        form, cross = self._form.to(points), self._cross.to(points)
        variation = ((points @ form) * points).sum(-1) + 2 * points @ cross + self._constant
        decoder, mean = self._parts[step % _STRIDE]
        pixels = points @ decoder.to(points) + mean.to(points)
        beyond = ((pixels - 1).relu() ** 2 + (-pixels).relu() ** 2).sum(-1) * _STRIDE
        return self._variation * variation + self._beyond * beyond


class PixelPrior:
    """The same penalties in pixel space."""

    def __init__(self, knowledge: AttackerKnowledge, variation: float, beyond: float) -> None:
        """Weights as in `SpanPrior`."""
        self._knowledge, self._variation, self._beyond = knowledge, variation, beyond

    def per_image(self, inputs: Tensor) -> Tensor:
        """(..., C, H, W) network inputs to (...) penalties."""
        image = self._knowledge.pixels(inputs)
        across = ((image[..., 1:] - image[..., :-1]) ** 2).mean((-1, -2, -3))
        down = ((image[..., 1:, :] - image[..., :-1, :]) ** 2).mean((-1, -2, -3))
        beyond = ((image - 1).relu() ** 2 + (-image).relu() ** 2).sum((-1, -2, -3))
        return self._variation * (across + down) + self._beyond * beyond


class SparsePixelPrior:
    """Neighbouring pixels are alike except at edges: `(|∇|² + ε²)^(p/2)` summed over the two directions, and the range.

    Gradients of natural images are sparse, with a hyper-Laplacian law of p between 0.5 and 0.8 (Krishnan & Fergus
    2009). The squared variation blurs the edges that carry the likeness.
    """

    def __init__(self, knowledge: AttackerKnowledge, variation: float, beyond: float) -> None:
        """Prepare.

        Args:
            knowledge: pixels of an input.
            variation: weight of the mean over pixels.
            beyond: weight of the summed squared excess over [0, 1], per image.
        """
        self._knowledge, self._variation, self._beyond = knowledge, variation, beyond

    def per_image(self, inputs: Tensor) -> Tensor:
        """(..., C, H, W) network inputs to (...) penalties; the channels of a pixel share its edges."""
        image = self._knowledge.pixels(inputs)
        across = ((image[..., 1:] - image[..., :-1]) ** 2).sum(-3)
        down = ((image[..., 1:, :] - image[..., :-1, :]) ** 2).sum(-3)
        edges = [((squared + _EDGE_FLOOR**2) ** (_EDGE_POWER / 2)).mean((-1, -2)) for squared in (across, down)]
        beyond = ((image - 1).relu() ** 2 + (-image).relu() ** 2).sum((-1, -2, -3))
        return self._variation * (edges[0] + edges[1]) + self._beyond * beyond
