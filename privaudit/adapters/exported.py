"""`torch.export` programs: the graph in the file becomes a network of plain modules, and nothing else is run.

A program is data from an untrusted file, so only operations that are listed here are built: none of them reads files,
calls back into Python or draws random numbers. Convolutions, linear layers, BatchNorm and ReLU become the modules of
`torch.nn` that the attacks know.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from privaudit.adapters.exported_arguments import Arguments
from privaudit.adapters.exported_operations import ARITHMETIC, CHECKS, OPERATIONS, RESHAPES
from privaudit.adapters.interface import (
    AbstractAdapter,
    AdapterDescription,
    AdapterRefusal,
    AttackTarget,
    InputOptions,
)  # fmt: skip
from privaudit.adapters.modules import module_target, refuse_failure
from privaudit.checkpoint import Checkpoint
from privaudit.text import one_line

_PREFIX = "torch.ops.aten."


class ExportedAdapter(AbstractAdapter):
    """Rebuilds the network of a `.pt2` file from its graph."""

    name = "exported"
    description = AdapterDescription(
        option="",
        networks="torch.export programs (.pt2) of listed operations; never unpickled",
        told_by="the program in the file",
    )

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """The network with the program's weights.

        Raises:
            AdapterRefusal: no program, an operation that is not listed, a program exported in training mode or with
                other than one input, or a forward pass that fails.
        """
        if checkpoint.program is None:
            raise AdapterRefusal("there is no torch.export program in the file")
        try:
            builder = _Builder(checkpoint.program["graph_module"], checkpoint.tensors)
            module = builder.build()
        except AdapterRefusal:
            raise
        except Exception as error:  # the file's JSON may have any form
            refuse_failure("reading the program", error)
        shape = builder.input_sizes[1:]
        if options.input_shape is None and len(shape) == 3 and all(isinstance(size, int) for size in shape):
            options = InputOptions((shape[0], shape[1], shape[2]), options.activation)
        said = "the architecture is the torch.export program in the file; only its listed operations are built"
        try:
            return module_target(module, checkpoint, options, self.name, (said,))
        except AdapterRefusal as refusal:
            if builder.input_sizes[0] is None:
                raise
            batch = f"the program was exported for batches of {builder.input_sizes[0]} only"
            raise AdapterRefusal(f"{refusal}; {batch}, export it with dynamic_shapes for the batch") from None


def plain_name(name: object) -> str:
    """A name that may become part of the code that fx writes and runs; anything else in a file could be code itself.

    Raises:
        AdapterRefusal: not words of letters, digits and underscores, joined by dots.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)*", name, re.ASCII):
        raise AdapterRefusal(f"the program uses the name {one_line(repr(name), 60)}, which no module of torch can have")
    return name


class _Builder:
    """One pass over the program's nodes that writes an fx graph.

    Attributes:
        input_sizes: of the one input, batch first; None where a size is symbolic.
    """

    def __init__(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self._graph_json, self._tensors = document["graph"], tensors
        self._specs, self._outputs = document["signature"]["input_specs"], document["signature"]["output_specs"]
        self._graph, self._root = fx.Graph(), dict[str, Any]()
        self._values: dict[str, fx.Node] = {}
        self._names: dict[str, str] = {}  # of the tensors that the graph calls p_conv_weight and the module conv.weight
        self._batch: int | None = None

    def build(self) -> nn.Module:
        """The network, in evaluation mode."""
        self._inputs()
        for node in self._graph_json["nodes"]:
            self._node(node)
        if len(self._outputs) != 1 or "user_output" not in self._outputs[0]:
            raise AdapterRefusal("the program changes buffers or has several outputs (exported in training mode?)")
        self._graph.output(self._values[self._outputs[0]["user_output"]["arg"]["as_tensor"]["name"]])
        module = fx.GraphModule(self._root, self._graph, "ExportedProgram")
        module.graph.eliminate_dead_code()
        module.recompile()
        return module.eval()

    def _inputs(self) -> None:
        users = []
        for spec in self._specs:
            ((kind, entry),) = spec.items()
            if kind == "user_input":
                users.append(entry["arg"]["as_tensor"]["name"])
            elif kind in ("parameter", "buffer", "tensor_constant"):
                self._names[entry["arg"]["name"]] = plain_name(entry[f"{kind}_name"])
            else:
                raise AdapterRefusal(f"the program has an input of the kind {one_line(kind, 40)}")
        if len(users) != 1:
            raise AdapterRefusal(f"the program takes {len(users)} inputs, expected one batch of images")
        self._values[users[0]] = self._input = self._graph.placeholder("inputs")
        sizes = self._graph_json["tensor_values"][users[0]]["sizes"]
        self.input_sizes = [size.get("as_int") for size in sizes]
        self._batch = self.input_sizes[0]

    def _node(self, node: dict[str, Any]) -> None:
        target = node["target"]
        name = target.removeprefix(_PREFIX)
        if name in CHECKS:
            return
        arguments = Arguments(node, self._value, self._batch_size if name in RESHAPES else None)
        if target in ARITHMETIC:
            made: fx.Node | None = self._graph.call_function(ARITHMETIC[target], *arguments.of_graph())
        elif not target.startswith(_PREFIX):
            raise AdapterRefusal(f"the program calls {one_line(target, 60)}, which is not built")
        elif name in ("relu.default", "relu_.default"):
            made = self._call(f"relu_{len(self._root)}", nn.ReLU(), arguments.node(0, "self"))
        elif name in ("dropout.default", "dropout_.default"):
            made = self._dropout(name, arguments)
        else:
            made = self._layer(name, arguments)
        if made is None:
            made = self._graph.call_function(self._operation(name), *arguments.of_graph())
        self._bind(node["outputs"], made)

    def _operation(self, name: str) -> Callable[..., Any]:
        if name not in OPERATIONS:
            raise AdapterRefusal(f"the program uses the operation {one_line(name, 60)}, which is not built")
        packet, _, overload = name.partition(".")
        found: Callable[..., Any] = getattr(getattr(torch.ops.aten, packet), overload)
        return found

    def _dropout(self, name: str, arguments: Arguments) -> fx.Node:
        """What enters it: in evaluation mode it does nothing."""
        if arguments.get(2, "train"):
            raise AdapterRefusal("the program was exported in training mode; call eval() before exporting")
        return arguments.node(0, "self" if name.endswith("_.default") else "input")

    def _layer(self, name: str, arguments: Arguments) -> fx.Node | None:
        """A layer of `torch.nn` that the attacks know; None for others, and where a weight is computed."""
        if name not in _LAYERS:
            return None
        make, keys = _LAYERS[name]
        given = {key: arguments.tensor_name(place, key) for place, key in enumerate(keys, 1)}
        full = {key: self._names[one] for key, one in given.items() if one in self._names}
        if not full or len(full) < sum(one is not None for one in given.values()):
            return None
        n_dimensions = len(self._graph_json["tensor_values"][arguments.tensor_name(0, "input")]["sizes"])
        held = {key: self._tensors[full[key]] if key in full else None for key in keys}
        module = make(held, arguments, n_dimensions)
        stem = next(iter(full.values())).rpartition(".")[0] or f"layer_{len(self._root)}"
        # The same weights applied twice are one layer, unless they are applied differently.
        if stem in self._root and repr(self._root[stem]) != repr(module):
            stem = f"{stem}_{len(self._root)}"
        return self._call(stem, self._root.get(stem, module), arguments.node(0, "input"))

    def _call(self, name: str, module: nn.Module, argument: fx.Node) -> fx.Node:
        self._root[name] = module
        return self._graph.call_module(name, (argument,))

    def _value(self, name: str) -> fx.Node:
        """The node of a name in the program; weights become attributes of the module when they are first used so."""
        if name not in self._values:
            full = self._names[name]
            tensor = self._tensors[full]
            self._root[full] = nn.Parameter(tensor) if tensor.is_floating_point() else tensor
            self._values[name] = self._graph.get_attr(full)
        return self._values[name]

    def _batch_size(self, size: object) -> object:
        """The batch in a reshape of a program that was exported for one batch size."""
        if self._batch is None or size != self._batch:
            return size
        return self._graph.call_function(torch.ops.aten.sym_size.int, (self._input, 0))

    def _bind(self, outputs: list[dict[str, Any]], made: fx.Node) -> None:
        ((kind, entry),) = outputs[0].items()
        if len(outputs) == 1 and kind == "as_tensors":
            for index, one in enumerate(entry):
                self._values[one["name"]] = self._graph.call_function(operator.getitem, (made, index))
            return
        if len(outputs) != 1:
            raise AdapterRefusal("the program has an operation of several outputs, which is not built")
        self._values[entry.get("name") or entry["as_name"]] = made


def _convolution(held: dict[str, Any], arguments: Arguments, n_dimensions: int) -> nn.Module:
    weight = held["weight"]
    groups = arguments.get(6, "groups", 1)
    module = nn.Conv2d(
        weight.shape[1] * groups, weight.shape[0], weight.shape[2:], arguments.get(3, "stride", 1),
        arguments.get(4, "padding", 0), arguments.get(5, "dilation", 1), groups, held["bias"] is not None,
        device="meta",
    )  # fmt: skip
    return _filled(module, held)


def _linear(held: dict[str, Any], arguments: Arguments, n_dimensions: int) -> nn.Module:
    n_out, n_in = held["weight"].shape
    return _filled(nn.Linear(n_in, n_out, held["bias"] is not None, device="meta"), held)


def _normalisation(held: dict[str, Any], arguments: Arguments, n_dimensions: int) -> nn.Module:
    if arguments.get(5, "training") or held["running_mean"] is None:
        raise AdapterRefusal("the program normalises by the batch (exported in training mode?); call eval() first")
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[n_dimensions]
    module = kind(len(held["running_mean"]), eps=arguments.get(7, "eps"), affine=held["weight"] is not None)
    return _filled(module, held)


def _filled(module: nn.Module, held: dict[str, Any]) -> nn.Module:
    for name, tensor in held.items():
        if tensor is not None and name in ("weight", "bias"):
            setattr(module, name, nn.Parameter(tensor.detach().float()))
        elif tensor is not None:
            setattr(module, name, tensor.detach().float())
    return module


_LAYERS: dict[str, tuple[Callable[[dict[str, Any], Arguments, int], nn.Module], tuple[str, ...]]] = {
    "conv2d.default": (_convolution, ("weight", "bias")),
    "linear.default": (_linear, ("weight", "bias")),
    "batch_norm.default": (_normalisation, ("weight", "bias", "running_mean", "running_var")),
}
"""How a layer is made, and its tensors in the order in which they follow the input."""
