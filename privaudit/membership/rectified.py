"""Kinks of every ReLU of any network: also behind convolutions, normalisations and residual sums.

In: a module and images. Out: one score an image; higher is more member-like. Pre-activations are caught where a ReLU is
called, as a layer or as a function, so nothing about the architecture has to be known. Must know neither labels nor
which images are members.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from privaudit.membership.parts import BAND, WIDE, poisson_excess
from privaudit.spans import LinearSite

_BLOCK = 64  # images at once: one layer's pre-activations of them are in memory in double precision
_LEAST_POSITIONS = 16  # of a channel from which its own size is the scale; of fewer, the layer's
_RELUS = (functional.relu, functional.relu_, functional.relu6, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _Catcher(TorchFunctionMode):
    """Hands the argument of every ReLU to `seen`, in the order of the forward pass."""

    def __init__(self, seen: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _RELUS:
            self._seen(args[0] if args else kwargs["input"])
        return func(*args, **(kwargs or {}))


def rectified_sites(module: nn.Module, sites: tuple[LinearSite, ...], inputs: Tensor) -> tuple[LinearSite, ...]:
    """The linear layers whose output a ReLU takes directly.

    Args:
        module: the network.
        sites: its linear layers.
        inputs: (N, C, H, W), any one image or more.
    """
    made: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no identity is given out twice
    found: set[str] = set()

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        made[id(output)] = names[layer]
        kept.append(output)

    names: dict[nn.Module, str] = {
        layer: name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)
    }
    handles = [layer.register_forward_hook(note) for layer in names]
    try:
        with torch.no_grad(), _Catcher(lambda hidden: found.add(made.get(id(hidden), ""))):
            module(inputs[:1])
    finally:
        for handle in handles:
            handle.remove()
    return tuple(site for site in sites if site.name in found)


def n_with_channels(module: nn.Module, inputs: Tensor) -> int:
    """Calls of a ReLU in one forward pass on layers with channels, (N, channels, …)."""
    calls: list[int] = []
    with torch.no_grad(), _Catcher(lambda hidden: calls.append(hidden.ndim)):
        module(inputs[:1])
    return sum(n_dimensions > 2 for n_dimensions in calls)


def channel_kink_excess(module: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    """Surplus of pre-activations on the kinks of all ReLU layers with channels, in standard deviations; (N,).

    As `parts.kink_excess`, with the size of a pre-activation told from the image itself: the root mean square of its
    channel, or of the layer where a channel has fewer than 16 positions. Counts of all layers are added up.

    Args:
        module: the network.
        inputs: (N, C, H, W).
    """
    parameter = next(module.parameters())
    return np.concatenate([_block_excess(module, block.to(parameter)) for block in torch.split(inputs, _BLOCK)])


def _block_excess(module: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    counts = torch.zeros(2, len(inputs), dtype=torch.float64, device=inputs.device)

    def add(hidden: Tensor) -> None:
        if hidden.ndim > 2 and len(hidden) == len(inputs):  # the linear layers' kinks are read by `parts.kink_excess`
            counts.add_(_kink_counts(hidden.double().flatten(2)))

    with torch.no_grad(), _Catcher(add):
        module(inputs)
    return poisson_excess(counts[0], counts[1]).cpu().numpy()


def _kink_counts(hidden: Tensor) -> Tensor:
    """(2, N) soft counts of (N, channels, positions) pre-activations near zero: in the band and in the wide one."""
    own = hidden.shape[2] >= _LEAST_POSITIONS
    size = hidden.square().mean(2 if own else (1, 2), keepdim=True).sqrt()
    # A channel without any signal lies on the kink everywhere and says nothing.
    nearness = torch.where(size > 0, hidden.abs() / size.clamp_min(1e-300), torch.inf)
    return torch.stack([(1 / (1 + (nearness / band) ** 2)).sum((1, 2)) for band in (BAND, WIDE * BAND)])
