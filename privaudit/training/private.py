"""DP-SGD by Opacus: gradients of single images, clipped and noised, and what that guarantees.

Source: Abadi et al. 2016, algorithm 1, with Poisson sampling; accounting by Rényi differential privacy (Mironov 2017)
as Opacus implements it. Must know neither files nor where the images come from.
"""

import math
from typing import Any, final

import torch

from privaudit.errors import ConfigError
from privaudit.text import one_line
from privaudit.training.problem import TrainingProblem
from privaudit.training.steppers import AbstractStepper, BatchPlan


@final
class PrivateSgd(AbstractStepper):
    """Stochastic gradient descent with per-image clipping and noise.

    Args:
        problem: what is minimised.
        optimiser: over the problem's parameters; it applies the weight decay, which no image enters.
        plan: of the batches: every image enters a step with probability `plan.size / N`.
        noise: noise multiplier; `clip` the norm to which an image's gradient is clipped.

    Raises:
        ConfigError: Opacus is missing, or refuses the network (batch normalisation mixes images).
    """

    def __init__(
        self, problem: TrainingProblem, optimiser: torch.optim.Optimizer, plan: BatchPlan, noise: float, clip: float
    ) -> None:
        super().__init__(problem)
        self._plan, self._noise = plan, noise
        self._place = problem.inputs.device
        self._share = min(plan.size / len(problem.inputs), 1.0)
        self._steps = 0
        wrapped, optimisers, accountants = _opacus()
        try:
            self._module = wrapped(problem.module, loss_reduction="mean")
        except Exception as error:
            raise ConfigError(
                f"expected a network whose gradients Opacus can take image by image, found: {one_line(error, 120)}; "
                "leave out --dp-noise or replace that layer"
            ) from None
        self._accountant = accountants()
        self._optimiser = optimisers(
            optimiser, noise_multiplier=noise, max_grad_norm=clip, expected_batch_size=plan.size,
            generator=torch.Generator(self._place),
        )  # fmt: skip
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._module.remove_hooks()  # a look at the whole training set needs no gradients image by image

    def advance(self, epoch: int) -> bool:
        """As many steps as make a pass on average."""
        generator, inputs, targets = self._plan.generator(epoch), self.problem.inputs, self.problem.targets
        # Noise is drawn where the gradients are, from a stream that the pass's own decides.
        seed = int(torch.randint(2**62, (1,), generator=generator))
        self._optimiser.generator = torch.Generator(self._place).manual_seed(seed)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._plan.rate_factor(epoch)
        self._module.add_hooks(loss_reduction="mean")
        for _ in range(math.ceil(1 / self._share)):
            chosen = (torch.rand(len(inputs), generator=generator) < self._share).nonzero().flatten()
            self._optimiser.zero_grad()
            if len(chosen):
                # Where no input wants a gradient torch warns of the hooks that Opacus uses; they work.
                batch = inputs[chosen].requires_grad_()
                loss = self.problem.loss(self._module(batch), targets[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
            else:  # an empty draw is a step of noise alone, and the guarantee counts it
                for parameter in self.problem.parameters:
                    parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))  # type: ignore[attr-defined]
            self._optimiser.step()
            self._steps += 1
        self._module.remove_hooks()
        return True

    def epsilon(self, delta: float) -> float:
        """ε of (ε, δ) differential privacy of the steps taken so far."""
        if not self._steps:
            return 0.0
        self._accountant.history = [(self._noise, self._share, self._steps)]
        return float(self._accountant.get_epsilon(delta))

    def state(self) -> dict[str, Any]:
        """The optimiser's, and how many steps were taken."""
        return {"optimiser": self._optimiser.original_optimizer.state_dict(), "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self._optimiser.original_optimizer.load_state_dict(state["optimiser"])
        self._steps = int(state["steps"])


def _opacus() -> tuple[Any, Any, Any]:
    """Its wrapper of modules, its optimiser, its accountant."""
    try:
        from opacus import GradSampleModule
        from opacus.accountants import RDPAccountant
        from opacus.optimizers import DPOptimizer
    except ImportError:
        raise ConfigError(
            "expected Opacus for --dp-noise, found none; install it with pip install 'privaudit[study]'"
        ) from None
    return GradSampleModule, DPOptimizer, RDPAccountant
