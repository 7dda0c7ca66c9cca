"""Operations of `torch.export` programs that are built; a program that uses any other is refused.

None of them reads files, calls back into Python or draws random numbers; `exported.py` turns some into modules.
"""

import operator
from collections.abc import Callable
from typing import Any

OPERATIONS = frozenset(
    [
        "_softmax.default", "adaptive_avg_pool2d.default", "adaptive_max_pool2d.default", "add.Scalar",
        "add.Tensor", "add_.Tensor", "addmm.default", "alias.default", "amax.default", "amin.default",
        "avg_pool2d.default", "bmm.default", "cat.default", "chunk.default", "clamp.default", "clamp_.default",
        "clamp_min.default", "clone.default", "concat.default", "constant_pad_nd.default", "contiguous.default",
        "conv1d.default", "conv2d.default", "conv2d.padding", "cos.default", "detach.default",
        "detach_.default", "div.Scalar", "div.Tensor", "div_.Tensor", "einsum.default", "elu.default",
        "exp.default", "expand.default", "flatten.using_ints", "gelu.default", "group_norm.default",
        "hardsigmoid.default", "hardsigmoid_.default", "hardswish.default", "hardswish_.default",
        "hardtanh.default", "hardtanh_.default", "index.Tensor", "layer_norm.default", "leaky_relu.default",
        "leaky_relu_.default", "linear.default", "log_softmax.int", "matmul.default", "max_pool2d.default",
        "mean.default", "mean.dim", "mish.default", "mm.default", "mul.Scalar", "mul.Tensor", "mul_.Tensor",
        "narrow.int", "neg.default", "pad.default", "permute.default", "pow.Tensor_Scalar", "relu6.default",
        "reshape.default", "roll.default", "rsqrt.default", "scaled_dot_product_attention.default",
        "select.int", "sigmoid.default", "sigmoid_.default", "silu.default", "silu_.default", "sin.default",
        "slice.Tensor", "softmax.int", "softplus.default", "split.Tensor", "split_with_sizes.default",
        "sqrt.default", "squeeze.default", "squeeze.dim", "squeeze.dims", "stack.default", "sub.Scalar",
        "sub.Tensor", "sum.dim_IntList", "sym_size.int", "t.default", "tanh.default", "tanh_.default",
        "transpose.int", "unbind.int", "unflatten.int", "unsqueeze.default", "view.default",
    ]
)  # fmt: skip
"""Names behind `torch.ops.aten.`."""

ARITHMETIC: dict[str, Callable[..., Any]] = {
    "_operator.add": operator.add,
    "_operator.sub": operator.sub,
    "_operator.mul": operator.mul,
    "_operator.floordiv": operator.floordiv,
}
"""Of sizes."""

CHECKS = ("_assert_tensor_metadata.default", "_assert_scalar.default", "sym_constrain_range_for_size.default")
"""What export asserts about shapes; left out, because a forward pass is tried anyway."""

RESHAPES = ("view.default", "reshape.default", "expand.default", "unflatten.int")
"""Whose first size is that of the batch."""
