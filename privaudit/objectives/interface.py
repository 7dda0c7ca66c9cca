"""What an objective is: a loss over candidate images and multipliers, for several restarts side by side.

In: a network, a search space, what the attacker knows. Out: losses, images, multipliers. Must not know training images:
nothing here takes an image set.

Shapes: R restarts, m candidates each, K outputs, d = C*H*W, rank = coordinates of the search space.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

Variables = dict[str, Tensor]
"""Optimised tensors by name; every one has the restarts as its first dimension."""


@dataclass(frozen=True)
class AttackerKnowledge:
    """What the attack may use beside the weights; printed in the report.

    Attributes:
        mean: (C, H, W) of the preprocessing, pixel units in [0, 1].
        std: the same shape, positive.
        sentences: the same in words, with where each came from.
    """

    mean: Tensor
    std: Tensor
    sentences: tuple[str, ...]

    def pixels(self, inputs: Tensor) -> Tensor:
        """(..., C, H, W) network inputs to pixels, not clipped."""
        return inputs * self.std.to(inputs) + self.mean.to(inputs)


class AbstractObjective(ABC):
    """A loss to minimise over images, R restarts at once."""

    name: str
    learning_rates: dict[str, float]

    @abstractmethod
    def start(self, n_restarts: int, generator: torch.Generator) -> Variables:
        """Random variables, the same for the same generator state."""

    @abstractmethod
    def loss(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """(R,) losses, differentiable; `share_done` in [0, 1] drives what is brought in late."""

    def backward(self, variables: Variables, step: int, share_done: float) -> Tensor:
        """Add the gradient of the summed losses to `grad` of the variables that want one; (R,) losses, detached.

        An objective whose graph over all candidates would not fit into memory does it in parts.
        """
        loss = self.loss(variables, step, share_done)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @abstractmethod
    def inputs(self, variables: Variables) -> Tensor:
        """(R, m, C, H, W) candidate images as network inputs."""

    @abstractmethod
    def multipliers(self, variables: Variables) -> Tensor | None:
        """(R, m, K), or None for an objective without multipliers."""

    @abstractmethod
    def placebo(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, C, H, W) network inputs drawn from the search space, nothing optimised (METHOD 3f)."""

    def project(self, variables: Variables, share_done: float) -> None:
        """Put variables back onto their constraints, in place, before a step. Nothing by default."""
        return
