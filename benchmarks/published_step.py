"""One step of the published attack, as the slow reference that everything else is measured against.

Haim et al. 2022 (arXiv 2206.07758) and Buzaglo et al. 2023 (arXiv 2307.01827), in our own words: float64, candidates
as free pixels, `θ − Σ c_ik ∇Φ_k(x_i)` built by a backward pass that is itself differentiated, ReLU with its derivative
replaced by `sigmoid(α z)`, SGD with momentum 0.9. Multipliers of either sign, no floor: the equation of weight decay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PublishedSettings:
    """The four numbers that the published code tunes against the true images, and the multipliers' learning rate.

    Attributes:
        rate: of the pixels (published range log-U[1e-5, 1]); `multiplier_rate`: of the multipliers, the same range.
        init_scale: standard deviation of the first candidates (log-U[1e-6, 0.1]).
        smoothing: α (U[10, 500]).
        momentum: of SGD.
    """

    rate: float = 0.01
    multiplier_rate: float = 0.01
    init_scale: float = 1e-3
    smoothing: float = 150.0
    momentum: float = 0.9


class SmoothedGate(torch.autograd.Function):
    """ReLU forward; every backward pass multiplies by `sigmoid(α z)`, itself differentiable."""

    @staticmethod
    def forward(ctx, hidden, smoothing):
        """Any shape to the same."""
        ctx.save_for_backward(hidden)
        ctx.smoothing = smoothing
        return hidden.relu()

    @staticmethod
    def backward(ctx, gradient):
        """The published derivative."""
        (hidden,) = ctx.saved_tensors
        return gradient * torch.sigmoid(ctx.smoothing * hidden), None


def equation_loss(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    images: Tensor,
    multipliers: Tensor,
    smoothing: float,
    importance: Sequence[tuple[float, float]] | None = None,
) -> Tensor:
    """`Σ_l ‖θ_l − Σ c_ik ∇Φ_k(x_i)‖²`, differentiable in images and multipliers: one graph through a backward pass.

    Args:
        weights: of the layers, (n_out, n_in) each; `biases`: theirs or None.
        images: (m, d) flattened network inputs.
        multipliers: (m, K).
        smoothing: α.
        importance: factor of each layer's weight and bias term; None: ones, as published.
    """
    layers = [(w.detach().requires_grad_(), None if b is None else b.detach().requires_grad_())
              for w, b in zip(weights, biases, strict=True)]  # fmt: skip
    hidden = images
    for index, (weight, bias) in enumerate(layers):
        if index:
            hidden = SmoothedGate.apply(hidden, smoothing)
        hidden = torch.nn.functional.linear(hidden, weight, bias)
    parameters = [p for layer in layers for p in layer if p is not None]
    sums = torch.autograd.grad((multipliers * hidden).sum(), parameters, create_graph=True)
    pairs = importance or [(1.0, 1.0)] * len(layers)
    factors = [f for layer, pair in zip(layers, pairs, strict=True) for p, f in zip(layer, pair, strict=True)
               if p is not None]  # fmt: skip
    terms = [f * ((p.detach() - s) ** 2).sum() for f, p, s in zip(factors, parameters, sums, strict=True)]
    return torch.stack(terms).sum()


class PublishedAttack:
    """Candidates, multipliers and their SGD.

    Attributes:
        images: (m, d) float64 network inputs; `multipliers`: (m, K).
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        n_candidates: int,
        settings: PublishedSettings,
        seed: int = 0,
    ) -> None:
        """Random candidates; `weights` and `biases` as in `equation_loss`, of any floating type."""
        self._weights = [w.detach().double() for w in weights]
        self._biases = [None if b is None else b.detach().double() for b in biases]
        self._settings = settings
        generator = torch.Generator().manual_seed(seed)
        d, n_outputs, device = weights[0].shape[1], len(weights[-1]), weights[0].device
        images = settings.init_scale * torch.randn(n_candidates, d, generator=generator, dtype=torch.float64)
        multipliers = 2 * torch.rand(n_candidates, n_outputs, generator=generator, dtype=torch.float64) - 1
        self.images, self.multipliers = images.to(device).requires_grad_(), multipliers.to(device).requires_grad_()
        groups = [
            {"params": [self.images], "lr": settings.rate},
            {"params": [self.multipliers], "lr": settings.multiplier_rate},
        ]
        self._optimiser = torch.optim.SGD(groups, momentum=settings.momentum)

    def step(self) -> Tensor:
        """One step; returns the loss before it, detached."""
        self._optimiser.zero_grad()
        loss = equation_loss(self._weights, self._biases, self.images, self.multipliers, self._settings.smoothing)
        beyond = (self.images.abs() - 1).relu().square().sum()
        (loss + beyond).backward(inputs=[self.images, self.multipliers])  # none for θ: the reference is not made slower
        self._optimiser.step()
        return loss.detach()
