"""Architecture families by name, and the way from a checkpoint to the network that is audited."""

from collections.abc import Sequence

from privaudit.adapters.convnet import ConvNetAdapter
from privaudit.adapters.exported import ExportedAdapter
from privaudit.adapters.factory import FactoryAdapter
from privaudit.adapters.inputs import resolve_input_options
from privaudit.adapters.interface import AbstractAdapter, AdapterDescription, AdapterRefusal, AttackTarget, InputOptions
from privaudit.adapters.libraries import LIBRARIES, library_adapter
from privaudit.adapters.mlp import MlpAdapter
from privaudit.adapters.plugins import PluginAdapter, installed_adapters
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError
from privaudit.text import one_line

_EXPORTED = ExportedAdapter()
ADAPTERS: tuple[AbstractAdapter, ...] = (MlpAdapter(), ConvNetAdapter(), _EXPORTED)

__all__ = ["ADAPTERS", "build_target", "descriptions", "resolve_input_options"]


def descriptions() -> tuple[AdapterDescription, ...]:
    """The table of architectures, in the order in which adapters are tried and named."""
    kinds: tuple[type[AbstractAdapter], ...] = (
        *map(type, ADAPTERS),
        *LIBRARIES.values(),
        FactoryAdapter,
        PluginAdapter,
    )
    return tuple(kind.description for kind in kinds)


def installed_names() -> tuple[str, ...]:
    """Names of the adapters that installed packages add."""
    return tuple(installed_adapters(taken=[*(adapter.name for adapter in ADAPTERS), *LIBRARIES]))


def build_target(checkpoint: Checkpoint, adapter: str, options: InputOptions) -> AttackTarget:
    """The network with the checkpoint's weights.

    Args:
        checkpoint: what was read.
        adapter: `auto` (the first of `ADAPTERS` that fits, then those of installed plug-ins), a name among them,
            `torchvision:NAME`, `timm:NAME`, or `file.py:factory`, which runs that file.
        options: what is said about the inputs.

    Raises:
        AdapterError: unknown adapter, or none fits; the message has every adapter's reason in one line.
    """
    # A program says what the network computes; the other adapters would have to assume it.
    candidates = (_EXPORTED,) if adapter == "auto" and checkpoint.program is not None else _candidates(adapter)
    reasons = []
    for candidate in candidates:
        try:
            return candidate.build(checkpoint, options)
        except AdapterRefusal as refusal:
            reasons.append((candidate.name, one_line(refusal, 500)))
    if adapter != "auto":
        raise AdapterError(f"expected {checkpoint.path} to fit the adapter {adapter}, found that {reasons[0][1]}")
    shown = "; ".join(f"{name}: {reason}" for name, reason in reasons)
    raise AdapterError(
        f"expected an architecture that an adapter knows in {checkpoint.path}, found none that fits: {shown}; "
        "name the network with --adapter torchvision:NAME or describe it with --adapter file.py:factory"
    )


def _candidates(adapter: str) -> Sequence[AbstractAdapter]:
    by_name: dict[str, AbstractAdapter] = {known.name: known for known in ADAPTERS}
    if adapter in by_name:
        return (by_name[adapter],)
    of_library = library_adapter(adapter)
    if of_library is not None:
        return (of_library,)
    if ":" in adapter or adapter.endswith(".py"):
        return (FactoryAdapter(adapter),)
    installed = installed_adapters(taken=[*by_name, *LIBRARIES])
    if adapter == "auto":
        return (*ADAPTERS, *installed.values())
    if adapter in installed:
        return (installed[adapter],)
    raise AdapterError(
        f"expected the adapter to be auto, {', '.join([*by_name, *installed])}, "
        f"{', '.join(f'{library}:NAME' for library in LIBRARIES)} or file.py:factory, "
        f"found {one_line(adapter, 60)!r}; choose one of these"
    )
