"""Layers in the order of the forward pass, told from names and shapes alone; shared by the adapters.

In: a checkpoint's tensors. Out: `ChainLayer`s. All raise `AdapterRefusal` where the tensors are no plain chain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from privaudit.adapters.interface import AdapterRefusal, LayerInfo
from privaudit.checkpoint import Checkpoint
from privaudit.text import listed, natural_key, one_line

# Last components of the names of 1-D tensors that scale or shift something other than a layer's outputs.
_NORMALISATION = ("weight", "gamma", "beta", "scale", "running_mean", "running_var", "weight_g")
# How names of weights turn into names of their biases: PyTorch, hand-written code, Keras.
_BIAS_NAMES = (("weight", "bias"), ("kernel", "bias"), ("W", "b"), ("w", "b"))
# Above this many layers no order is searched by shapes; names must tell it.
_MAX_SEARCHED = 12


@dataclass(frozen=True)
class ChainLayer:
    """One layer: name of the weight, the weight (out, in) or (out, in, height, width), and the bias (out,) if any."""

    name: str
    weight: Tensor
    bias: Tensor | None

    @property
    def n_inputs(self) -> int:
        """Inputs, or channels that enter."""
        return self.weight.shape[1]

    @property
    def n_outputs(self) -> int:
        """Outputs, or channels that leave."""
        return self.weight.shape[0]

    def info(self, kind: str) -> LayerInfo:
        """What `inspect` prints, under the checkpoint's own name without `.weight`."""
        stem = self.name.removesuffix("weight").rstrip("._") or self.name
        return LayerInfo(name=stem, kind=kind, shape=tuple(self.weight.shape), has_bias=self.bias is not None)


def refuse_others(checkpoint: Checkpoint, dimensions: Iterable[int]) -> None:
    """Refuse tensors that are neither weights of these dimensions nor biases, and whole numbers."""
    allowed = {1, *dimensions}
    for name, tensor in checkpoint.tensors.items():
        shown = one_line(name, 60)
        last = name.rpartition(".")[2]
        if tensor.ndim == 1 and last in _NORMALISATION:
            raise AdapterRefusal(
                f"{shown} is 1-D and no bias (of a normalisation layer?), which a plain chain does not have"
            )
        if not tensor.is_floating_point():
            raise AdapterRefusal(f"{shown} is {tensor.dtype}, not floating point")
        if tensor.ndim not in allowed:
            wanted = " or ".join(f"{n}-D" for n in sorted(allowed))
            raise AdapterRefusal(f"{shown} is {tensor.ndim}-D, expected {wanted}")
        if 0 in tensor.shape:
            raise AdapterRefusal(f"{shown} is empty")


def order_layers(checkpoint: Checkpoint, n_dimensions: int) -> tuple[list[str], str | None]:
    """Names of the weights of that many dimensions so that outputs fit inputs, and what was assumed, if anything.

    Safetensors files list names alphabetically, so there natural order goes first; torch files keep the order of the
    module, which goes first there. Where neither chains, the one order in which the shapes chain is taken.
    """
    weights = {name: tensor for name, tensor in checkpoint.tensors.items() if tensor.ndim == n_dimensions}
    in_file = list(weights)
    natural = sorted(weights, key=natural_key)
    orders = (natural, in_file) if checkpoint.format.startswith("safetensors") else (in_file, natural)
    for order in orders:
        if _chains([weights[name] for name in order]):
            return order, None
    by_shape = _orders_by_shape(weights)
    if len(by_shape) == 1:
        _refuse_transposed(by_shape[0], natural, weights)
        return by_shape[0], f"order of the layers told from their shapes alone: {listed(by_shape[0], 12)}"
    if by_shape:
        raise AdapterRefusal(
            f"the shapes chain in more than one order and the names do not tell which: {listed(natural)}"
        )
    raise AdapterRefusal(_break(orders[0], weights))


def _chains(weights: Sequence[Tensor]) -> bool:
    return all(one.shape[0] == following.shape[1] for one, following in pairwise(weights))


def _refuse_transposed(by_shape: list[str], natural: list[str], weights: Mapping[str, Tensor]) -> None:
    """Weights stored as (inputs, outputs), as Keras does, chain backwards: a few inputs in, an image out."""
    is_widening = weights[by_shape[0]].shape[1] < weights[by_shape[-1]].shape[0]
    if by_shape == natural[::-1] and is_widening:
        raise AdapterRefusal("the weights chain only when transposed; store them as (outputs, inputs)")


def _break(order: Sequence[str], weights: Mapping[str, Tensor]) -> str:
    for one, following in pairwise(order):
        n_given, n_taken = weights[one].shape[0], weights[following].shape[1]
        if n_given != n_taken:
            shown = f"{one_line(one, 60)} gives {n_given}, {one_line(following, 60)} takes {n_taken}"
            return f"the shapes do not chain: {shown}"
    return "the shapes do not chain"


def _orders_by_shape(weights: Mapping[str, Tensor]) -> list[list[str]]:
    """At most two orders in which every weight's outputs are the next one's inputs."""
    found: list[list[str]] = []
    if len(weights) > _MAX_SEARCHED:
        return found

    def extend(order: list[str]) -> None:
        if len(order) == len(weights):
            found.append(order)
        for name, weight in weights.items():
            fits = not order or weights[order[-1]].shape[0] == weight.shape[1]
            if fits and name not in order and len(found) < 2:
                extend([*order, name])

    extend([])
    return found


def pair_biases(order: Sequence[str], checkpoint: Checkpoint) -> list[ChainLayer]:
    """Each weight with its bias: by name, else as many biases as weights in the same order, else by size if unique."""
    weights = {name: checkpoint.tensors[name] for name in order}
    biases = {name: tensor for name, tensor in checkpoint.tensors.items() if tensor.ndim == 1}
    pairs = {name: _sibling(name, biases) for name in order}
    taken = [bias for bias in pairs.values() if bias is not None]
    rest = [name for name in biases if name not in taken]
    if rest:
        bare = [name for name in order if pairs[name] is None]
        pairs |= _pairs_by_order_or_size(bare, rest, lambda weight, bias: weights[weight].shape[0] == len(biases[bias]))
    layers = []
    for name, bias in pairs.items():
        if bias is not None and len(biases[bias]) != len(weights[name]):
            raise AdapterRefusal(
                f"{one_line(bias, 60)} has {len(biases[bias])} entries, expected {len(weights[name])} "
                f"as {one_line(name, 60)} gives"
            )
        layers.append(ChainLayer(name, weights[name], None if bias is None else biases[bias]))
    return layers


def _sibling(weight: str, biases: Mapping[str, Tensor]) -> str | None:
    head, dot, last = weight.rpartition(".")
    for old, new in _BIAS_NAMES:
        name = head + dot + last.replace(old, new)
        if old in last and name in biases:
            return name
    return None


def _pairs_by_order_or_size(
    weights: Sequence[str], biases: Sequence[str], fits: Callable[[str, str], bool]
) -> dict[str, str]:
    for order in (list(biases), sorted(biases, key=natural_key)):
        if len(order) == len(weights) and all(map(fits, weights, order)):
            return dict(zip(weights, order, strict=True))
    pairs = {}
    for bias in biases:
        fitting = [weight for weight in weights if fits(weight, bias)]
        if len(fitting) != 1 or fitting[0] in pairs:
            raise AdapterRefusal(f"{one_line(bias, 60)} is 1-D and cannot be told to be the bias of one layer")
        pairs[fitting[0]] = bias
    return pairs
