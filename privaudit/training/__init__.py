"""Small ReLU networks trained to a stationary point: what the demo and the positive control are made of.

In: images as network inputs, targets, settings with a seed. Out: tensors and how stationary they are. Must know neither
files nor the attack.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from privaudit.networks import ReluMlp
from privaudit.training.problem import TrainingProblem
from privaudit.training.steppers import Lbfgs

LossName = Literal["cross_entropy", "mse"]


@dataclass(frozen=True)
class TrainingSettings:
    """A network and how it is trained.

    Attributes:
        widths: of the inputs, the hidden layers and the outputs.
        loss: `cross_entropy` on class numbers, or `mse` (mean squared error) on real targets of one output.
        weight_decay: λ of `loss + λ/2 ‖θ‖²`, biases included; 0 for none.
        max_steps: of L-BFGS; training ends earlier where the residual is at most `tolerance`.
        tolerance: of the stationarity residual.
        seed: of the initial weights; training draws nothing else.
    """

    widths: tuple[int, ...]
    loss: LossName
    weight_decay: float
    max_steps: int
    tolerance: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class TrainedNetwork:
    """Where training ended.

    Attributes:
        tensors: `layers.N.weight` (out, in) and `layers.0.bias` (out,), float32, contiguous.
        loss: mean over the images, without the weight decay.
        residual: `‖∇(loss + λ/2 ‖θ‖²)‖ / (λ ‖θ‖)`, 0 at a stationary point; `‖∇ loss‖ / ‖θ‖` without weight decay.
        steps: of L-BFGS.
    """

    tensors: dict[str, Tensor]
    loss: float
    residual: float
    steps: int


def untrained_tensors(settings: TrainingSettings) -> dict[str, Tensor]:
    """The weights that training starts from."""
    return _tensors(_initial(settings))


def train(
    inputs: Tensor,
    targets: Tensor,
    settings: TrainingSettings,
    on_progress: Callable[[float, float, float], None] | None = None,
    initial: dict[str, Tensor] | None = None,
) -> TrainedNetwork:
    """Minimise the regularised loss by full-batch L-BFGS with a strong Wolfe line search.

    Weight decay pushes pre-activations onto the kinks of the ReLU (METHOD 3), where the gradient jumps: the residual
    levels off around a tenth instead of reaching 0.

    Args:
        inputs: (N, C, H, W) or (N, D) network inputs, preprocessed.
        targets: (N,) class numbers, or real values for `mse`.
        settings: what to train.
        on_progress: called with (share of the steps done, loss, residual) now and then.
        initial: tensors to train on from, named as those returned; None: a start from the seed.
    """
    network = _initial(settings)
    if initial is not None:
        network.load_state_dict(initial)
    loss_function = _squared if settings.loss == "mse" else nn.functional.cross_entropy
    problem = TrainingProblem(network, inputs, targets, loss_function, settings.weight_decay)
    stepper = Lbfgs(problem)
    steps, residual, loss = 0, math.inf, math.inf
    while steps < settings.max_steps and residual > settings.tolerance:
        stepper.advance(steps)
        steps += stepper.n_epochs
        loss, residual = problem.look()
        if on_progress is not None:
            on_progress(min(steps / settings.max_steps, 1.0), loss, residual)
    return TrainedNetwork(_tensors(network), loss, residual, steps)


def _initial(settings: TrainingSettings) -> ReluMlp:
    """PyTorch's default start, uniform in `±1/√(fan in)`, from the seed alone; a bias in the first layer only."""
    generator = torch.Generator().manual_seed(settings.seed)
    layers = []
    for index, (n_in, n_out) in enumerate(pairwise(settings.widths)):
        layer = nn.Linear(n_in, n_out, bias=index == 0)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-(n_in**-0.5), n_in**-0.5, generator=generator)
        layers.append(layer)
    return ReluMlp(layers)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.mse_loss(outputs[:, 0], targets)


def _tensors(network: ReluMlp) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}
