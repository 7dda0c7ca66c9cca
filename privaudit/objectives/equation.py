"""What the multiplier equations have in common beyond an objective: a warm start and a residual."""

from abc import abstractmethod

from torch import Tensor

from privaudit.objectives.interface import AbstractObjective, Variables


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
