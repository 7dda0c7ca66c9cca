"""What is known of a network's inputs: shape and activation, from options and metadata; shared by the adapters."""

import math
import re

from privaudit.adapters.interface import AdapterRefusal, InputOptions
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError
from privaudit.text import one_line

Shape = tuple[int, int, int]


def shape_text(shape: tuple[int, ...]) -> str:
    """`3x32x32`, the way every message writes a shape."""
    return "x".join(str(size) for size in shape)


def resolve_input_options(
    checkpoint: Checkpoint, input_shape: Shape | None = None, reference_shape: Shape | None = None
) -> InputOptions:
    """Options for `build_target`: the user's shape, else the metadata's, else that of the reference images.

    Raises:
        AdapterError: the metadata's `input_shape` is not three positive numbers, and the user gives none.
    """
    try:
        shape = input_shape or metadata_shape(checkpoint) or reference_shape
    except AdapterRefusal as refusal:
        raise AdapterError(f"expected a usable input shape in {checkpoint.path}, found: {refusal}") from None
    return InputOptions(input_shape=shape, activation=checkpoint.metadata.get("activation"))


def metadata_shape(checkpoint: Checkpoint) -> Shape | None:
    """(C, H, W) from the metadata key `input_shape`, such as `3,32,32`; None where there is none."""
    text = checkpoint.metadata.get("input_shape")
    if text is None:
        return None
    match = re.fullmatch(r"\W*([0-9]{1,6})\s*[,x ]\s*([0-9]{1,6})\s*[,x ]\s*([0-9]{1,6})\W*", text)
    shape = (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)
    if min(shape) < 1:
        raise AdapterRefusal(f"metadata input_shape is {one_line(text, 40)!r}, expected C,H,W such as 3,32,32")
    return shape


def stated_shape(checkpoint: Checkpoint, options: InputOptions) -> Shape | None:
    """(C, H, W) from options, else from metadata; None: not said."""
    if options.input_shape is not None and min(options.input_shape) < 1:
        raise AdapterRefusal(f"input shape {shape_text(options.input_shape)} has a size below 1")
    return options.input_shape or metadata_shape(checkpoint)


def flat_shape(
    checkpoint: Checkpoint, options: InputOptions, n_inputs: int, layer: str
) -> tuple[Shape, tuple[str, ...]]:
    """(C, H, W) of `n_inputs` flattened pixels: as stated, else a square image of 1 or 3 channels, saying so."""
    stated = stated_shape(checkpoint, options)
    if stated is not None:
        if math.prod(stated) != n_inputs:
            raise AdapterRefusal(
                f"{one_line(layer, 60)} takes {n_inputs} inputs, the stated input shape {shape_text(stated)} has "
                f"{math.prod(stated)}; correct the input shape"
            )
        return stated, ()
    for n_channels in (1, 3):
        side = math.isqrt(n_inputs // n_channels)
        if n_channels * side * side == n_inputs:
            shape = (n_channels, side, side)
            return shape, (f"input shape not stated: {n_inputs} inputs taken as a {shape_text(shape)} image",)
    raise AdapterRefusal(
        f"{one_line(layer, 60)} takes {n_inputs} inputs, no square image of 1 or 3 channels; state the input shape"
    )


def relu_assumption(checkpoint: Checkpoint, options: InputOptions) -> tuple[str, ...]:
    """Refuse any stated activation but ReLU; where none is stated, the sentence that says what was assumed."""
    activation = options.activation or checkpoint.metadata.get("activation")
    if activation is None:
        return ("activation not stated: ReLU assumed between layers, none after the last",)
    if activation.strip().lower() != "relu":
        raise AdapterRefusal(
            f"the activation is {one_line(activation, 40)!r} and only relu is built; use a factory for it"
        )
    return ()


def precision_assumption(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The sentence that says that weights of another precision are computed with in float32."""
    kinds = {str(t.dtype).removeprefix("torch.") for t in checkpoint.tensors.values() if t.is_floating_point()}
    others = sorted(kinds - {"float32"})
    return (f"weights stored as {', '.join(others)} are held as float32",) if others else ()
