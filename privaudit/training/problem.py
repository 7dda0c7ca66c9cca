"""What is minimised: the loss of a network on images, plus weight decay, and how far it is from a stationary point.

In: a module, inputs, targets, a loss. Must know neither files nor where the images come from.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Outputs (N, K) and targets (N,) to the mean loss."""


@dataclass(frozen=True)
class TrainingProblem:
    """`loss + λ/2 ‖θ‖²` over a training set.

    Attributes:
        module: (N, ...) inputs to (N, K) outputs.
        inputs: of all training images, preprocessed.
        targets: (N,) class numbers or real values.
        loss: of outputs and targets, a mean.
        weight_decay: λ, biases included; 0 for none.
    """

    module: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: LossFunction
    weight_decay: float

    @property
    def parameters(self) -> list[nn.Parameter]:
        """θ."""
        return list(self.module.parameters())

    def penalised(self) -> Tensor:
        """The regularised loss; its gradient lies in the parameters afterwards."""
        self.module.zero_grad()
        loss = self.loss(self.module(self.inputs), self.targets) + self.weight_decay / 2 * self._squared_norm()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def look(self) -> tuple[float, float]:
        """Mean loss without the decay, and the stationarity residual.

        The residual is `‖∇(loss + λ/2 ‖θ‖²)‖ / (λ ‖θ‖)`, 0 at a stationary point; `‖∇ loss‖ / ‖θ‖` without decay.
        """
        self.penalised()
        with torch.no_grad():
            gradients = [p.grad.square().sum() for p in self.parameters if p.grad is not None]
            scale = (self.weight_decay or 1.0) * self._squared_norm().sqrt()
            residual = torch.stack(gradients).sum().sqrt() / scale.clamp_min(1e-30)
            return float(self.loss(self.module(self.inputs), self.targets)), float(residual)

    def _squared_norm(self) -> Tensor:
        return torch.stack([parameter.square().sum() for parameter in self.parameters]).sum()
