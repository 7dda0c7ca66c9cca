"""Ways to take steps: full-batch L-BFGS, full-batch descent with growing steps, and torch's first-order optimisers.

In: a `TrainingProblem`. A stepper carries all of its state, so that training that was cut off goes on to the same end.
Must know neither files nor where the images come from.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from privaudit.training.problem import TrainingProblem

STEPS_A_CALL = 20  # of L-BFGS between two looks at the residual
_HISTORY = 20  # pairs that L-BFGS remembers
# Descent: how a step that lowered the loss and one that did not change the next; and when it cannot be made shorter.
_GROWTH, _SHRINKAGE, _SHORTEST = 1.02, 0.5, 1e-12


class AbstractStepper(ABC):
    """Moves the parameters of a problem.

    Attributes:
        problem: whose parameters.
        n_epochs: passes over the data that one call of `advance` counts as.
    """

    n_epochs = 1

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem = problem

    @abstractmethod
    def advance(self, epoch: int) -> bool:
        """Go on by `n_epochs`; whether there was anywhere to go. `epoch`: passes that lie behind."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that the next call depends on beside the parameters; tensors and plain values."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state`."""


@final
class Lbfgs(AbstractStepper):
    """Full-batch L-BFGS with a strong Wolfe line search; a call is `STEPS_A_CALL` steps, each counted as a pass."""

    n_epochs = STEPS_A_CALL

    def __init__(self, problem: TrainingProblem) -> None:
        super().__init__(problem)
        self._optimiser = torch.optim.LBFGS(
            problem.parameters,
            max_iter=STEPS_A_CALL,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )

    def advance(self, epoch: int) -> bool:
        """Twenty steps."""
        self._optimiser.step(self.problem.penalised)  # type: ignore[no-untyped-call]
        return True

    def state(self) -> dict[str, Any]:
        """Its pairs and the last direction."""
        return self._optimiser.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self._optimiser.load_state_dict(state)


@final
class GrowingDescent(AbstractStepper):
    """Full-batch gradient descent whose steps grow while the loss falls.

    Without weight decay the gradients of a loss that can be driven to 0 vanish with it, and a fixed rate needs 10^6
    passes (Haim et al. 2022); steps that grow by a fiftieth keep pace with them. A step that raises the loss is taken
    back and halved.

    Args:
        problem: what is minimised.
        rate: of the first step.
        momentum: in [0, 1).
    """

    def __init__(self, problem: TrainingProblem, rate: float, momentum: float) -> None:
        super().__init__(problem)
        self._rate, self._momentum = rate, momentum
        self._velocity = [torch.zeros_like(p) for p in problem.parameters]

    def advance(self, epoch: int) -> bool:
        """One step that does not raise the loss; False where none is short enough."""
        parameters = self.problem.parameters
        loss = float(self.problem.penalised())
        start = [p.detach().clone() for p in parameters]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        while self._rate > _SHORTEST:
            moved = [self._momentum * v - self._rate * g for v, g in zip(self._velocity, gradients, strict=True)]
            self._place(start, moved)
            if self._loss() <= loss:
                self._velocity, self._rate = moved, self._rate * _GROWTH
                return True
            self._velocity, self._rate = [torch.zeros_like(p) for p in parameters], self._rate * _SHRINKAGE
        self._place(start, self._velocity)
        return False

    def _place(self, start: list[Tensor], moved: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, origin, step in zip(self.problem.parameters, start, moved, strict=True):
                parameter.copy_(origin + step)

    def _loss(self) -> float:
        with torch.no_grad():
            squares = torch.stack([p.square().sum() for p in self.problem.parameters]).sum()
            fit = self.problem.loss(self.problem.module(self.problem.inputs), self.problem.targets)
            value = float(fit + self.problem.weight_decay / 2 * squares)
        return value if math.isfinite(value) else math.inf

    def state(self) -> dict[str, Any]:
        """Rate and velocity."""
        return {"rate": self._rate, "velocity": self._velocity}

    def restore(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self._rate, self._velocity = float(state["rate"]), list(state["velocity"])


@dataclass(frozen=True)
class BatchPlan:
    """How passes are cut into steps.

    Attributes:
        size: images a step.
        epochs: planned; the learning rate falls over them where `is_cosine`.
        seed: of the order and of augmentation; every pass draws from a stream of its own.
        augment: changes a batch of inputs at random; None: nothing does.
        is_cosine: whether the rate falls to 0 along a cosine.
    """

    size: int
    epochs: int
    seed: int
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    is_cosine: bool = False

    def generator(self, epoch: int) -> torch.Generator:
        """The stream of one pass."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + epoch + 1) % (2**63))

    def rate_factor(self, epoch: int) -> float:
        """What the learning rate is multiplied by."""
        return 0.5 * (1 + math.cos(math.pi * epoch / self.epochs)) if self.is_cosine else 1.0


@final
class FirstOrder(AbstractStepper):
    """One of torch's optimisers, which applies the weight decay itself.

    Args:
        problem: what is minimised; its decay must be what `optimiser` applies.
        optimiser: over the problem's parameters.
        plan: of the batches.
    """

    def __init__(self, problem: TrainingProblem, optimiser: torch.optim.Optimizer, plan: BatchPlan) -> None:
        super().__init__(problem)
        self._optimiser, self._plan = optimiser, plan
        self._rates = [group["lr"] for group in optimiser.param_groups]

    def advance(self, epoch: int) -> bool:
        """One pass."""
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._plan.rate_factor(epoch)
        for inputs, targets in self._batches(self._plan.generator(epoch)):
            self._optimiser.zero_grad()
            self.problem.loss(self.problem.module(inputs), targets).backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        return True

    def _batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = self.problem.inputs, self.problem.targets
        n_images, augment = len(inputs), self._plan.augment
        order = torch.randperm(n_images, generator=generator) if self._plan.size < n_images else torch.arange(n_images)
        for chosen in torch.split(order, self._plan.size):
            batch = inputs[chosen]
            yield (batch if augment is None else augment(batch, generator)), targets[chosen]

    def state(self) -> dict[str, Any]:
        """The optimiser's."""
        return self._optimiser.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self._optimiser.load_state_dict(state)
