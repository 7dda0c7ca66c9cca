"""What a loss says about multipliers: at a stationary point they are its derivative, so outputs fix their size.

With weight decay `λ_WD` and a mean over n images, `c_i = −ℓ'(Φ(x_i), y_i) / (n λ_WD)` (Buzaglo et al. 2023, equation of
the general loss). The direction of `c_i` and its size therefore follow from the candidate's own outputs and its label.
In: outputs and labels. Out: directions and logarithms of sizes. Must not know networks or images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot, softplus

_SHARPNESS = 20.0  # of the floor under 1 − y Φ: a fit past its label has no multiplier of that sign


@dataclass(frozen=True)
class LossTie:
    """One loss. Shapes: outputs (..., K), labels (...) int64.

    Attributes:
        direction: outputs and labels to (..., K), the multiplier of unit size.
        log_size: outputs and labels to (...), the logarithm of the derivative's size.
        label: outputs (or multipliers) to the label that they speak for.
        log_factor: logarithm of what the derivative is multiplied with beside `1 / (n λ_WD)`.
    """

    direction: Callable[[Tensor, Tensor], Tensor]
    log_size: Callable[[Tensor, Tensor], Tensor]
    label: Callable[[Tensor], Tensor]
    log_factor: float = 0.0


def _others(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.scatter(-1, labels[..., None], -torch.inf)


def _softmax_direction(outputs: Tensor, labels: Tensor) -> Tensor:
    return one_hot(labels, outputs.shape[-1]).to(outputs) - _others(outputs, labels).softmax(-1)


def _softmax_log_size(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.logsumexp(_others(outputs, labels), -1) - torch.logsumexp(outputs, -1)


def _sign(labels: Tensor, like: Tensor) -> Tensor:
    return 2 * labels.to(like) - 1


def _signed_direction(outputs: Tensor, labels: Tensor) -> Tensor:
    return _sign(labels, outputs)[..., None]


def _logistic_log_size(outputs: Tensor, labels: Tensor) -> Tensor:
    return logsigmoid(-_sign(labels, outputs) * outputs[..., 0])


def _squared_log_size(outputs: Tensor, labels: Tensor) -> Tensor:
    short = 1 - _sign(labels, outputs) * outputs[..., 0]
    return (softplus(_SHARPNESS * short) / _SHARPNESS).clamp_min(1e-12).log()


def _argmax(outputs: Tensor) -> Tensor:
    return outputs.argmax(-1)


def _positive(outputs: Tensor) -> Tensor:
    return (outputs[..., 0] > 0).long()


LOSS_TIES = {
    "cross_entropy": LossTie(_softmax_direction, _softmax_log_size, _argmax),
    "logistic": LossTie(_signed_direction, _logistic_log_size, _positive),
    "squared": LossTie(_signed_direction, _squared_log_size, _positive, math.log(2)),
}
"""Losses whose derivative is known: softmax cross-entropy; logistic and squared error on labels ±1, one output."""
