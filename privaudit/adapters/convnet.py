"""Chains of convolutions in front of linear layers, ReLU between; stride, padding and pooling stated or inferred.

A state dict does not say how a convolution was applied. What options and metadata leave open is tried (padding none or
`same`, no pooling or a 2x2 max-pool after every convolution) and taken only if a single combination fits the first
linear layer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from torch import nn

from privaudit.adapters.chain import ChainLayer, order_layers, pair_biases, refuse_others
from privaudit.adapters.inputs import Shape, precision_assumption, relu_assumption, shape_text, stated_shape
from privaudit.adapters.interface import (
    AbstractAdapter,
    AdapterDescription,
    AdapterRefusal,
    AttackTarget,
    InputOptions,
)
from privaudit.adapters.normalisation import place_normalisations, split_normalisations
from privaudit.adapters.simplify import simplified
from privaudit.checkpoint import Checkpoint
from privaudit.networks import conv_chain, conv_layer, frozen, linear_layer
from privaudit.text import listed, one_line

# The largest square input that is tried where no input shape is stated.
_MAX_SIDE = 512
_REMEDY = "state input_shape, stride, padding and pool, or use a factory"
_NO_POOL = ("none", "no", "false", "0", "1", "")


@dataclass(frozen=True)
class Pool:
    """What follows a convolution's ReLU: `max` or `avg` over squares of `size` pixels, whose side is the stride too."""

    kind: str
    size: int

    def __str__(self) -> str:
        return f"{self.kind}-pool {self.size}" if self.size > 1 else "none"

    def module(self) -> nn.Module | None:
        """The layer; None where there is none."""
        if self.size == 1:
            return None
        return nn.MaxPool2d(self.size) if self.kind == "max" else nn.AvgPool2d(self.size)


_NONE = Pool("max", 1)


@dataclass(frozen=True)
class Geometry:
    """How every convolution is applied: strides and zero-padding (height, width) in pixels, pools behind it."""

    strides: tuple[int, ...]
    paddings: tuple[tuple[int, int], ...]
    pools: tuple[Pool, ...]

    def output_size(self, convolutions: Sequence[ChainLayer], height: int, width: int) -> tuple[int, int]:
        """(height, width) after the last convolution; 0 where nothing is left."""
        for layer, stride, padding, pool in zip(convolutions, self.strides, self.paddings, self.pools, strict=True):
            kernel = layer.weight.shape[2:]
            height = max((height + 2 * padding[0] - kernel[0]) // stride + 1, 0) // pool.size
            width = max((width + 2 * padding[1] - kernel[1]) // stride + 1, 0) // pool.size
        return height, width

    def __str__(self) -> str:
        padding = ", ".join(sorted({shape_text(pad) for pad in self.paddings}))
        pooled = any(pool.size > 1 for pool in self.pools)
        pooling = f"pooling {', '.join(map(str, self.pools))}" if pooled else "no pooling"
        return f"stride {', '.join(sorted({str(s) for s in self.strides}))}, padding {padding}, {pooling}"


class ConvNetAdapter(AbstractAdapter):
    """Builds an `nn.Sequential` of convolutions, ReLU, max-pools, a flattening and linear layers."""

    name = "convnet"
    description = AdapterDescription(
        option="",
        networks="convolutions with ReLU (stride, padding, pooling, BatchNorm folded) in front of linear layers",
        told_by="names and shapes; stride, padding and pool from options or metadata where shapes leave them open",
    )

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """The network.

        Raises:
            AdapterRefusal: the tensors are no such chain, or what is stated of stride, padding, pooling and input
                shape is contradictory or leaves more than one reading.
        """
        checkpoint, normalisations = split_normalisations(checkpoint)
        convolutions, linear, order_assumptions = _layers(checkpoint)
        behind, norm_assumptions = place_normalisations(normalisations, [*convolutions, *linear], checkpoint)
        activation = relu_assumption(checkpoint, options)
        shape, geometry, assumptions = _fit(checkpoint, stated_shape(checkpoint, options), convolutions, linear[0])
        applied = zip(convolutions, geometry.strides, geometry.paddings, strict=True)
        module = conv_chain(
            [conv_layer(layer.weight, layer.bias, stride=stride, padding=pad) for layer, stride, pad in applied],
            [pool.module() for pool in geometry.pools],
            [linear_layer(layer.weight, layer.bias) for layer in linear],
            behind,
        )
        simpler = simplified(frozen(module), shape)
        return AttackTarget(
            module=simpler.module,
            adapter=self.name,
            input_shape=shape,
            n_outputs=linear[-1].n_outputs,
            layers=(*(layer.info("conv") for layer in convolutions), *(layer.info("linear") for layer in linear)),
            assumptions=(
                *order_assumptions,
                *activation,
                *assumptions,
                *norm_assumptions,
                *simpler.sentences,
                *precision_assumption(checkpoint),
            ),
            trained=simpler.trained,
        )


def _layers(checkpoint: Checkpoint) -> tuple[list[ChainLayer], list[ChainLayer], list[str]]:
    n_dimensions = {tensor.ndim for tensor in checkpoint.tensors.values()}
    for wanted, kind in ((4, "4-D convolution weight"), (2, "2-D linear weight after the convolutions")):
        if wanted not in n_dimensions:
            raise AdapterRefusal(f"there is no {kind}")
    refuse_others(checkpoint, dimensions=(2, 4))
    conv_order, conv_assumption = order_layers(checkpoint, 4)
    linear_order, linear_assumption = order_layers(checkpoint, 2)
    layers = pair_biases([*conv_order, *linear_order], checkpoint)
    n_conv = len(conv_order)
    return layers[:n_conv], layers[n_conv:], [text for text in (conv_assumption, linear_assumption) if text]


def _fit(
    checkpoint: Checkpoint, stated: Shape | None, convolutions: Sequence[ChainLayer], linear: ChainLayer
) -> tuple[Shape, Geometry, list[str]]:
    n_channels = convolutions[0].n_inputs
    if stated is not None and stated[0] != n_channels:
        raise AdapterRefusal(
            f"{one_line(convolutions[0].name, 60)} takes {n_channels} channels, the stated input shape "
            f"{shape_text(stated)} has {stated[0]}"
        )
    shapes = [stated] if stated else [(n_channels, side, side) for side in range(1, _MAX_SIDE + 1)]
    geometries = _geometries(checkpoint, convolutions)
    fitting = [(s, g) for s, g in product(shapes, geometries) if _width(g, convolutions, s) == linear.n_inputs]
    if len(fitting) != 1:
        raise AdapterRefusal(_why_not_one(fitting, stated, geometries, convolutions, linear))
    shape, geometry = fitting[0]
    keys = [key for key in ("stride", "padding", "pool") if key not in checkpoint.metadata]
    assumptions = [] if stated else [f"input shape not stated: {shape_text(shape)} is the only square one that fits"]
    if keys:
        assumptions.append(
            f"{', '.join(keys)} not stated: of those tried, only {geometry} gives the {linear.n_inputs} inputs of "
            f"{one_line(linear.name, 60)}"
        )
    return shape, geometry, assumptions


def _width(geometry: Geometry, convolutions: Sequence[ChainLayer], shape: Shape) -> int:
    height, width = geometry.output_size(convolutions, shape[1], shape[2])
    return convolutions[-1].n_outputs * height * width


def _why_not_one(
    fitting: Sequence[tuple[Shape, Geometry]],
    stated: Shape | None,
    geometries: Sequence[Geometry],
    convolutions: Sequence[ChainLayer],
    linear: ChainLayer,
) -> str:
    takes = f"{one_line(linear.name, 60)} takes {linear.n_inputs} inputs"
    if fitting:
        shown = listed((f"{shape_text(shape)} with {geometry}" for shape, geometry in fitting), 3)
        return f"{takes} and more than one reading fits ({shown}); {_REMEDY}"
    if stated is None:
        return f"{takes} and no square input fits them; {_REMEDY}"
    given = listed((f"{_width(geometry, convolutions, stated)} ({geometry})" for geometry in geometries), 4)
    return f"{takes}, the convolutions give {given} for {shape_text(stated)}; use a factory for another architecture"


def _geometries(checkpoint: Checkpoint, convolutions: Sequence[ChainLayer]) -> list[Geometry]:
    n = len(convolutions)
    stride_texts = _stated(checkpoint, "stride", n)
    padding_texts = _stated(checkpoint, "padding", n)
    pool_texts = _stated(checkpoint, "pool", n)
    strides = tuple(_number(text, "stride", 1) for text in stride_texts) if stride_texts else (1,) * n
    paddings = [padding_texts] if padding_texts else [["0"] * n, ["same"] * n]
    pools = [[_pool(text) for text in pool_texts]] if pool_texts else [[_NONE] * n, [Pool("max", 2)] * n]
    geometries = []
    for texts, sizes in product(paddings, pools):
        applied = [_padding(text, layer) for text, layer in zip(texts, convolutions, strict=True)]
        known = [pad for pad in applied if pad is not None]
        if len(known) == n:
            geometries.append(Geometry(strides, tuple(known), tuple(sizes)))
        elif padding_texts:
            raise AdapterRefusal("padding `same` needs odd kernels; use a factory")
    return list(dict.fromkeys(geometries))


def _stated(checkpoint: Checkpoint, key: str, n_layers: int) -> list[str] | None:
    """The metadata's values, one a convolution; a single one holds for all."""
    if key not in checkpoint.metadata:
        return None
    values = [value.strip().lower() for value in checkpoint.metadata[key].strip(" []()").split(",")]
    values = values * n_layers if len(values) == 1 else values
    if len(values) != n_layers:
        raise AdapterRefusal(f"{key} has {len(values)} values for {n_layers} convolutions")
    return values


def _number(text: str, key: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < least:
        raise AdapterRefusal(f"{key} is {one_line(text, 40)!r}, expected whole numbers of at least {least}")
    return int(text)


def _padding(text: str, layer: ChainLayer) -> tuple[int, int] | None:
    """(height, width) in pixels; None where `same` cannot be had with equal padding on both sides."""
    height, width = layer.weight.shape[2:]
    if text == "same":
        return ((height - 1) // 2, (width - 1) // 2) if height % 2 and width % 2 else None
    pixels = 0 if text in ("valid", "none") else _number(text, "padding", 0)
    return pixels, pixels


def _pool(text: str) -> Pool:
    if text in _NO_POOL:
        return _NONE
    # `2`, `2x2`, `max`, `max2`, `maxpool2`, `avg 2`, `average-pool 3x3`
    match = re.fullmatch(r"(max|avg|average)?[ _-]?(?:pool(?:ing)?)?[ _-]?(?:([2-9])(?:x\2)?)?", text)
    if match is None:
        raise AdapterRefusal(
            f"pool is {one_line(text, 40)!r}, expected none, or max or avg with one size, such as max2 or avg2"
        )
    return Pool("avg" if (match[1] or "").startswith("av") else "max", int(match[2] or 2))
