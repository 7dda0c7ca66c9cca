"""Multipliers of the three published equations: from optimised variables to `c_ik` of `Σ c_ik ∇Φ_k(x_i)`.

Sources: Haim et al. 2022 (binary, multiclass), Buzaglo et al. 2023 (multiclass, general loss). Shapes: R restarts, m
candidates, K outputs.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from privaudit.objectives.interface import Variables

_FRESH_SIZE = 0.3  # norm of a fresh candidate's multipliers beside found ones of norm 1


class AbstractMultipliers(ABC):
    """How the multipliers of one equation are parametrised."""

    name: str

    def __init__(self, n_outputs: int) -> None:
        """K of the network."""
        self.n_outputs = n_outputs

    @abstractmethod
    def start(self, n_restarts: int, m: int, generator: torch.Generator) -> Variables:
        """Variables named `multipliers…`, of unit scale."""

    @abstractmethod
    def coefficients(self, variables: Variables, outputs: Tensor) -> Tensor:
        """(R, m, K) multipliers of unit scale; `outputs` (R, m, K) of the network at the candidates."""

    @abstractmethod
    def put(self, variables: Variables, coefficients: Tensor) -> None:
        """Set the first k candidates of every restart to (k, K) multipliers of unit scale, in place.

        The other candidates become a third as large, so that fresh ones do not push away what was found.
        """


class GeneralLossMultipliers(AbstractMultipliers):
    """Any loss with weight decay: free numbers of either sign, no labels (Buzaglo et al. 2023).

    For softmax cross-entropy the largest multiplier of a candidate sits at its label.
    """

    name = "general_loss"

    def start(self, n_restarts: int, m: int, generator: torch.Generator) -> Variables:
        """Normal with deviation 0.3: either sign, so that a candidate chooses its label."""
        return {"multipliers": 0.3 * torch.randn(n_restarts, m, self.n_outputs, generator=generator)}

    def coefficients(self, variables: Variables, outputs: Tensor) -> Tensor:
        """The variables themselves."""
        return variables["multipliers"]

    def put(self, variables: Variables, coefficients: Tensor) -> None:
        """Copy."""
        free = variables["multipliers"]
        free *= _FRESH_SIZE / free.norm(dim=-1).median()
        free[:, : len(coefficients)] = coefficients


class BinaryMarginMultipliers(GeneralLossMultipliers):
    """One output and a logistic loss without weight decay: `λ_i y_i` with `λ_i ≥ 0` (Haim et al. 2022).

    The published code fixes half of the labels to +1. A free real number is the same set, `λ_i = |c_i|` and
    `y_i = sign c_i`, and lets a candidate change sides, so labels are recovered rather than assumed.
    """

    name = "binary_margin"


class MulticlassMarginMultipliers(AbstractMultipliers):
    """Cross-entropy without weight decay: `λ_i (e_{y_i} − e_{j_i})`, `j_i` the strongest other output, `λ_i ≥ 0`.

    Labels `y_i` are dealt out in equal numbers, as published.
    """

    name = "multiclass_margin"

    def start(self, n_restarts: int, m: int, generator: torch.Generator) -> Variables:
        """λ around 0.3 in the log domain, which keeps it positive without a floor to tune."""
        logs = -1.2 + 0.3 * torch.randn(n_restarts, m, 1, generator=generator)
        labels = (torch.arange(m) % self.n_outputs).expand(n_restarts, m).clone()
        return {"multipliers": logs, "labels": labels}

    def coefficients(self, variables: Variables, outputs: Tensor) -> Tensor:
        """`λ_i (e_{y_i} − e_{j_i})`; the runner-up is a constant of the derivative."""
        labels = variables["labels"][..., None]
        rivals = outputs.detach().scatter(-1, labels, -torch.inf).argmax(-1, keepdim=True)
        size = variables["multipliers"].exp()
        zeros = torch.zeros_like(outputs)
        return zeros.scatter(-1, labels, size) - zeros.scatter(-1, rivals, size)

    def put(self, variables: Variables, coefficients: Tensor) -> None:
        """λ and label from the largest positive entry."""
        variables["multipliers"] += math.log(_FRESH_SIZE) - variables["multipliers"].median()
        size, label = coefficients.max(-1)
        variables["multipliers"][:, : len(coefficients), 0] = size.clamp_min(1e-3).log()
        variables["labels"][:, : len(coefficients)] = label


MULTIPLIERS: dict[str, type[AbstractMultipliers]] = {
    kind.name: kind for kind in (GeneralLossMultipliers, BinaryMarginMultipliers, MulticlassMarginMultipliers)
}
"""Every equation by its registry name."""
