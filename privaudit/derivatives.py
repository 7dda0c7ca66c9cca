"""Forward-mode derivatives of a network in the space of its weights, through `torch.func`."""

import warnings
from collections.abc import Callable

from torch import Tensor
from torch.func import jvp

Parameters = dict[str, Tensor]


def along(call: Callable[[Parameters], Tensor], parameters: Parameters, direction: Parameters) -> Tensor:
    """The derivative of `call` at `parameters` in a direction, in the shape of its value.

    Raises:
        NotImplementedError or RuntimeError: torch has no forward mode for an operation.
    """
    with warnings.catch_warnings():
        # On first use torch compiles its own decompositions by a function that it has deprecated since.
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.jit\.")
        found: Tensor = jvp(call, (parameters,), (direction,))[1]
    return found
