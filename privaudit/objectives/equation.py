"""What the multiplier equations share: variables, starts and warm starts.

A subclass says how large the sum of gradients is beside the weights and what is left of them. Must not know training
images.
"""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from privaudit.objectives.interface import AbstractObjective, Variables
from privaudit.objectives.multipliers import MULTIPLIERS
from privaudit.spans import SearchSpace


class AbstractEquation(AbstractObjective):
    """An objective with multipliers whose candidates explain the weights together."""

    n_candidates: int

    @abstractmethod
    def warm_start(self, variables: Variables, coordinates: Tensor, multipliers: Tensor) -> None:
        """Replace the first candidates of every restart by (k, rank) coordinates and (k, K) multipliers, in place."""

    @abstractmethod
    def multipliers(self, variables: Variables) -> Tensor:
        """(R, m, K), in the scale of the equation."""

    @abstractmethod
    def residual(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """(R,) loss without the prior, and (R,) share of the squared weights explained."""


class AbstractSearchEquation(AbstractEquation):
    """A multiplier equation whose candidates are coordinates of a search space.

    Variables: `coordinates` (R, m, rank), those of the multipliers, and `unit` (R, 1, 1), the constant that turns
    multipliers of unit scale into those of the equation.
    """

    def __init__(
        self, equation: str, n_outputs: int, space: SearchSpace, n_candidates: int, dtype: torch.dtype, rate: float
    ) -> None:
        """Common settings.

        Args:
            equation: a key of `MULTIPLIERS`.
            n_outputs: K.
            space: where images are searched.
            n_candidates: m.
            dtype: arithmetic of the attack.
            rate: learning rate of whitened coordinates.
        """
        self.name = equation
        self.learning_rates = {"coordinates": rate, "multipliers": 0.02}
        self.n_candidates = n_candidates
        self.space = space
        self._dtype = dtype
        self._exact_space = replace(
            space, decoder=None if space.decoder is None else space.decoder.to(dtype), scale=space.scale.to(dtype)
        )
        self._multipliers = MULTIPLIERS[equation](n_outputs)

    @abstractmethod
    def _outputs(self, coordinates: Tensor) -> Tensor:
        """(R, m, rank) to the network's outputs (R, m, K)."""

    @abstractmethod
    def _unit(self, coordinates: Tensor, coefficients: Tensor) -> Tensor:
        """(R, 1, 1) factor of (R, m, K) multipliers that makes the first sum about as large as the weights."""

    def start(self, n_restarts: int, generator: torch.Generator) -> Variables:
        """Coordinates of random images of the prior; multipliers whose first sum is as large as the weights."""
        m = self.n_candidates
        drawn = self.space.draw(n_restarts * m, generator)
        variables: Variables = {"coordinates": drawn.view(n_restarts, m, -1)}
        variables |= self._multipliers.start(n_restarts, m, generator)
        device = self.space.scale.device
        variables = {
            k: v.to(device, self._dtype) if v.is_floating_point() else v.to(device) for k, v in variables.items()
        }
        coordinates = variables["coordinates"]
        coefficients = self._multipliers.coefficients(variables, self._outputs(coordinates))
        variables["unit"] = self._unit(coordinates, coefficients)
        return variables

    def warm_start(self, variables: Variables, coordinates: Tensor, multipliers: Tensor) -> None:
        """Replace the first candidates of every restart by (k, rank) coordinates and (k, K) multipliers, in place."""
        k = min(self.n_candidates, len(coordinates))
        variables["coordinates"][:, :k] = coordinates[:k].to(variables["coordinates"])
        unit = max(float(multipliers.norm(dim=1).median()), 1e-12)
        variables["unit"].fill_(unit)
        self._multipliers.put(variables, multipliers[:k].to(self._exact_space.scale) / unit)

    def inputs(self, variables: Variables) -> Tensor:
        """(R, m, C, H, W)."""
        return self.space.inputs(variables["coordinates"].to(self.space.scale))

    def multipliers(self, variables: Variables) -> Tensor:
        """(R, m, K), in the scale of the equation."""
        with torch.no_grad():
            outputs = self._outputs(variables["coordinates"])
            return self._multipliers.coefficients(variables, outputs) * variables["unit"]

    def placebo(self, n: int, generator: torch.Generator) -> Tensor:
        """Random images of the search space."""
        return self.space.inputs(self.space.draw(n, generator))
