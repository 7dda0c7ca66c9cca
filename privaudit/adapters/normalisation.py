"""BatchNorm in a plain state dict: which tensors belong to it and which layer it follows.

In: a checkpoint's tensors and the layers in order. Out: what stands behind each layer. A state
dict does not say where a normalisation stands, so anything but one reading is an `AdapterRefusal`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from privaudit.adapters.chain import ChainLayer
from privaudit.adapters.interface import AdapterRefusal
from privaudit.checkpoint import Checkpoint
from privaudit.text import listed, natural_key, one_line

_MEAN, _VARIANCE, _COUNTER = "running_mean", "running_var", "num_batches_tracked"
_EPS = 1e-5  # PyTorch's default


@dataclass(frozen=True)
class Normalisation:
    """Tensors of one BatchNorm, each (channels,); weight and bias may be missing together."""

    name: str
    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None

    def module(self, n_dimensions: int, eps: float) -> nn.Module:
        """The layer in evaluation mode, behind a weight of that many dimensions."""
        kind = nn.BatchNorm2d if n_dimensions == 4 else nn.BatchNorm1d
        layer = kind(len(self.mean), eps=eps, affine=self.weight is not None)
        state = {_MEAN: self.mean, _VARIANCE: self.variance, "weight": self.weight, "bias": self.bias}
        layer.load_state_dict({key: value.float() for key, value in state.items() if value is not None}, strict=False)
        return layer.eval()


def split_normalisations(checkpoint: Checkpoint) -> tuple[Checkpoint, list[Normalisation]]:
    """The checkpoint without BatchNorm tensors, and these, in natural order of their names.

    Raises:
        AdapterRefusal: statistics without their partner, of unequal lengths, or a weight without a bias.
    """
    tensors = dict(checkpoint.tensors)
    prefixes = sorted(
        {name.rpartition(".")[0] for name in tensors if name.rpartition(".")[2] in (_MEAN, _VARIANCE)}, key=natural_key
    )
    found = []
    for prefix in prefixes:
        own = {key: tensors.pop(f"{prefix}.{key}", None) for key in (_MEAN, _VARIANCE, "weight", "bias", _COUNTER)}
        shown = one_line(prefix, 60)
        held = [value for key, value in own.items() if value is not None and key != _COUNTER]
        mean, variance = own[_MEAN], own[_VARIANCE]
        if mean is None or variance is None or (own["weight"] is None) != (own["bias"] is None):
            raise AdapterRefusal(f"the normalisation {shown} lacks part of its tensors")
        if any(value.ndim != 1 or len(value) != len(mean) for value in held):
            raise AdapterRefusal(f"the tensors of the normalisation {shown} are not equally long")
        found.append(Normalisation(prefix, mean, variance, own["weight"], own["bias"]))
    return replace(checkpoint, tensors=tensors), found


def place_normalisations(
    normalisations: Sequence[Normalisation], layers: Sequence[ChainLayer], checkpoint: Checkpoint
) -> tuple[list[nn.Module | None], list[str]]:
    """What stands behind every layer, None where nothing does, and what was assumed.

    Args:
        normalisations: in natural order of their names.
        layers: in the order of the forward pass; none follows the last.
        checkpoint: whose metadata `batch_norm_eps` count.

    Raises:
        AdapterRefusal: more than one layer could be meant, or none fits.
    """
    if not normalisations:
        return [None] * len(layers), []
    hidden = layers[:-1]
    by_number = _by_number(normalisations, hidden)
    convolutions = [layer for layer in hidden if layer.weight.ndim == 4]
    for behind in (by_number, hidden, convolutions):
        if behind is not None and len(behind) == len(normalisations) and _fit(normalisations, behind):
            break
    else:
        raise AdapterRefusal(
            f"it cannot be told which layers the normalisations {listed(one.name for one in normalisations)} follow"
        )
    eps = _eps(checkpoint)
    placed = {layer.name: one.module(layer.weight.ndim, eps) for one, layer in zip(normalisations, behind, strict=True)}
    return [placed.get(layer.name) for layer in layers], [
        f"BatchNorm taken as standing between its layer and the ReLU, eps {eps:g}"
    ]


def _by_number(normalisations: Sequence[Normalisation], layers: Sequence[ChainLayer]) -> list[ChainLayer] | None:
    """`features.1` follows `features.0`, as in an `nn.Sequential`; None where a name has no such layer before it."""
    by_prefix = {layer.name.rpartition(".")[0]: layer for layer in layers}
    found = []
    for one in normalisations:
        stem, _, number = one.name.rpartition(".")
        before = by_prefix.get(f"{stem}.{int(number) - 1}".lstrip(".")) if number.isdecimal() else None
        if before is None:
            return None
        found.append(before)
    return found


def _fit(normalisations: Sequence[Normalisation], layers: Sequence[ChainLayer]) -> bool:
    return all(len(one.mean) == layer.n_outputs for one, layer in zip(normalisations, layers, strict=True))


def _eps(checkpoint: Checkpoint) -> float:
    text = checkpoint.metadata.get("batch_norm_eps", str(_EPS))
    try:
        eps = float(text)
    except ValueError:
        eps = -1.0
    if not 0 <= eps < 1:
        raise AdapterRefusal(f"metadata batch_norm_eps is {one_line(text, 40)!r}, expected a small number such as 1e-5")
    return eps
