"""Arguments of one node of a `torch.export` program: from the file's tagged JSON to values of an fx graph.

In: a node as the file has it. Out: numbers, lists and fx nodes. Raises `AdapterRefusal` for tags that are not built.
"""

from collections.abc import Callable
from keyword import iskeyword
from typing import Any

from torch import fx

from privaudit.adapters.interface import AdapterRefusal
from privaudit.text import one_line

_POSITIONAL = 1  # torch._export.serde.schema.ArgumentKind
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings")


def _keyword(name: object) -> str:
    """The name of an argument; fx writes it into code that it runs, so nothing but a name may pass."""
    if not isinstance(name, str) or not (name.isascii() and name.isidentifier()) or iskeyword(name):
        raise AdapterRefusal(f"the program has an argument of the name {one_line(repr(name), 60)}")
    return name


def _require_plain(value: object) -> None:
    """Numbers, truth values, text and lists of these: what the tags of plain arguments hold, unless a file lies."""
    if not all(isinstance(one, int | float | str) for one in (value if isinstance(value, list) else [value])):
        raise AdapterRefusal(f"the program has the argument {one_line(repr(value), 60)}, which is no number or text")


class Arguments:
    """The arguments of one node.

    Args:
        node: as the file has it.
        value: from a name in the program to its fx node.
        size: what stands for a whole number among the sizes of a reshape; None: itself.
    """

    def __init__(
        self,
        node: dict[str, Any],
        value: Callable[[str], fx.Node],
        size: Callable[[object], object] | None,
    ) -> None:
        self._inputs: list[dict[str, Any]] = node["inputs"]
        self._value, self._size = value, size

    def of_graph(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """All arguments, positional and by name."""
        positional = tuple(self._read(one["arg"]) for one in self._inputs if one["kind"] == _POSITIONAL)
        named = {_keyword(one["name"]): self._read(one["arg"]) for one in self._inputs if one["kind"] != _POSITIONAL}
        return positional, named

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """One argument that is no tensor."""
        found = self._find(place, name)
        return default if found is None else self._read(found)

    def node(self, place: int, name: str) -> fx.Node:
        """One argument that is a tensor."""
        found = self.tensor_name(place, name)
        if found is None:
            raise AdapterRefusal(f"the program lacks the argument {one_line(name, 40)} of an operation")
        return self._value(found)

    def tensor_name(self, place: int, name: str) -> str | None:
        """The program's name of a tensor; None where it is left out."""
        found = self._find(place, name)
        if found is not None and "as_optional_tensor" in found:
            found = found["as_optional_tensor"]
        return None if found is None or "as_tensor" not in found else str(found["as_tensor"]["name"])

    def _find(self, place: int, name: str) -> dict[str, Any] | None:
        for index, one in enumerate(self._inputs):
            if one["name"] == name or (index == place and not one["name"]):
                argument: dict[str, Any] = one["arg"]
                return argument
        return None

    def _read(self, argument: dict[str, Any]) -> Any:
        ((kind, entry),) = argument.items()
        if kind == "as_none":
            return None
        if kind in _PLAIN:
            _require_plain(entry)
            if kind == "as_ints" and self._size is not None and entry:
                return [self._size(entry[0]), *entry[1:]]
            return entry
        if kind == "as_tensor":
            return self._value(entry["name"])
        if kind in ("as_tensors", "as_optional_tensors"):
            return [self._read(one if kind == "as_optional_tensors" else {"as_tensor": one}) for one in entry]
        if kind in ("as_optional_tensor", "as_sym_int"):
            return self._value(entry["as_name"]) if "as_name" in entry else self._read(entry)
        if kind == "as_sym_ints":
            return [self._read({"as_sym_int": one}) for one in entry]
        if kind in ("as_scalar_type", "as_layout", "as_device", "as_memory_format"):
            return None  # of copies: the arithmetic is float32 on the device of the audit
        raise AdapterRefusal(f"the program has an argument of the kind {one_line(kind, 40)}, which is not built")
