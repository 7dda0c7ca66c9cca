"""Sums of per-image gradients and their products with a direction, for any module and without storing a gradient each.

Reverse and forward mode over the weights through `torch.func` (METHOD 2). Knows neither equations nor images' roles.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

Parameters = dict[str, Tensor]


def summed_gradient(
    network: nn.Module, parameters: Parameters, inputs: Tensor, coefficients: Tensor | Callable[[Tensor], Tensor]
) -> tuple[Parameters, Tensor, Tensor]:
    """`Σ_ik c_ik ∇_θ Φ_k(x_i)`, one forward and one backward pass.

    Args:
        network: inputs (n, C, H, W) to outputs (n, K).
        parameters: θ, of which gradients are taken.
        inputs: held constant.
        coefficients: c, (n, K), or from outputs to c; held constant.

    Returns:
        The sum by parameter (without those that the outputs do not depend on), the outputs and c.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad():
        outputs: Tensor = functional_call(network, leaves, (inputs.detach(),))
        used = coefficients if isinstance(coefficients, Tensor) else coefficients(outputs.detach())
        used = used.detach()
        gradients = torch.autograd.grad((used * outputs).sum(), list(leaves.values()), allow_unused=True)
    found = {name: gradient for name, gradient in zip(leaves, gradients, strict=True) if gradient is not None}
    return found, outputs.detach(), used


def along(network: nn.Module, parameters: Parameters, direction: Parameters, inputs: Tensor) -> Tensor:
    """(n, K) `⟨direction, ∇_θ Φ_k(x_i)⟩`, one forward pass with tangents; differentiable in the inputs.

    Raises:
        NotImplementedError or RuntimeError: torch has no forward mode for an operation.
    """

    def call(values: Parameters) -> Tensor:
        outputs: Tensor = functional_call(network, values, (inputs,))
        return outputs

    with warnings.catch_warnings():
        # On first use torch compiles its own decompositions by a function that it has deprecated since.
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.jit\.")
        found: Tensor = jvp(call, (parameters,), (direction,))[1]
    return found
