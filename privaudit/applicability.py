"""What in a network's structure and training the multiplier equation rests on or breaks down with.

In: a module and metadata. Out: sentences, each with what follows. The published equation is about homogeneous networks
trained to a stationary point (METHOD 1, 4.6); how far a given network is from that is said, never guessed over.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from privaudit.text import one_line

_NORMALISATIONS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.InstanceNorm1d,
    nn.InstanceNorm2d, nn.LocalResponseNorm,
)  # fmt: skip
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_ADDITIONS = ("aten::add", "aten::add_")
_ATTENTION = "attention"
_ADAPTIVE = ("adam", "rmsprop", "adagrad", "lion")


def normalisations(module: nn.Module) -> dict[str, int]:
    """Kinds of normalisation layers and how many there are."""
    found: dict[str, int] = {}
    for child in module.modules():
        # Libraries have their own kinds; all are named after what they do.
        if isinstance(child, _NORMALISATIONS) or "norm" in type(child).__name__.lower():
            found[type(child).__name__] = found.get(type(child).__name__, 0) + 1
    return found


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts additions of two activations and attention while a network runs."""

    def __init__(self, parameters: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_sums, self.n_attention, self._parameters = 0, 0, parameters

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in _ADDITIONS and _are_activations(args, self._parameters):
            self.n_sums += 1
        self.n_attention += _ATTENTION in name
        return func(*args, **(kwargs or {}))


def _are_activations(args: tuple[Any, ...], parameters: set[int]) -> bool:
    pair = args[:2]
    return (
        len(pair) == 2
        and all(isinstance(one, Tensor) and one.ndim > 1 and one.data_ptr() not in parameters for one in pair)
        and pair[0].shape == pair[1].shape
    )


def structure(module: nn.Module, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """One sentence for each trait of the network that the equation does not know.

    Args:
        module: with the parameters that were trained, in evaluation mode.
        shape: (C, H, W) of its inputs.
    """
    parameters = list(module.parameters())
    with torch.no_grad(), _Operations({value.data_ptr() for value in parameters}) as operations:
        module(torch.zeros(1, *shape).to(parameters[0]))
    kinds = normalisations(module)
    dropouts = [child for child in module.modules() if isinstance(child, _DROPOUTS) and child.p > 0]
    shifted = [child for child in module.modules() if isinstance(getattr(child, "bias", None), Tensor)]
    said = []
    if kinds:
        listed = ", ".join(f"{count} {name}" for name, count in kinds.items())
        said.append(
            f"Normalisation ({listed}): the scale of a weight before it has no effect, so its weights are no sum of "
            "gradients; row spaces, kinks and layers behind the last one are read all the same."
        )
    if dropouts:
        said.append(f"{len(dropouts)} dropout layers: training saw thinned networks, the equation is of the whole one.")
    if operations.n_sums:
        said.append(f"{operations.n_sums} residual sums: homogeneous only where both paths have the same depth.")
    if operations.n_attention or any(isinstance(child, nn.MultiheadAttention) for child in module.modules()):
        said.append("Attention: not homogeneous in the weights; no experience with reconstruction from such networks.")
    if len(shifted) > 1 and not kinds:
        said.append(f"{len(shifted)} layers have a bias; the published networks have one in the first layer only.")
    return tuple(said)


def training(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """What the metadata say about training that bears on the equation, and what they leave open."""
    said = []
    optimiser = next((metadata[key] for key in ("optimizer", "optimiser") if key in metadata), "")
    decay = metadata.get("weight_decay", "")
    has_decay = decay not in ("", "0", "0.0", "none")
    if any(name in optimiser.lower() for name in _ADAPTIVE) and not has_decay:
        said.append(
            f"Trained with {one_line(optimiser, 40)} and no stated weight decay: such networks approach another margin "
            "problem (arXiv 2602.16340), so the margin equation need not hold."
        )
    if not decay:
        said.append(
            "The checkpoint does not say with which weight decay it was trained, which decides how much it keeps of "
            "its training images."
        )
    return tuple(said)
