"""Architecture families by name, and the way from a checkpoint to the network that is audited."""

from privaudit.adapters.convnet import ConvNetAdapter
from privaudit.adapters.factory import FactoryAdapter
from privaudit.adapters.inputs import resolve_input_options
from privaudit.adapters.interface import AbstractAdapter, AdapterRefusal, AttackTarget, InputOptions
from privaudit.adapters.mlp import MlpAdapter
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError
from privaudit.text import one_line

ADAPTERS: tuple[AbstractAdapter, ...] = (MlpAdapter(), ConvNetAdapter())

__all__ = ["ADAPTERS", "build_target", "resolve_input_options"]


def build_target(checkpoint: Checkpoint, adapter: str, options: InputOptions) -> AttackTarget:
    """The network with the checkpoint's weights.

    Args:
        checkpoint: what was read.
        adapter: `auto` (the first of `ADAPTERS` that fits), a name among them, or `file.py:factory`, which runs it.
        options: what is said about the inputs.

    Raises:
        AdapterError: unknown adapter, or none fits; the message has every adapter's reason in one line.
    """
    candidates = _candidates(adapter)
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
        "describe the network with --adapter file.py:factory"
    )


def _candidates(adapter: str) -> tuple[AbstractAdapter, ...]:
    by_name: dict[str, AbstractAdapter] = {known.name: known for known in ADAPTERS}
    if adapter == "auto":
        return ADAPTERS
    if adapter in by_name:
        return (by_name[adapter],)
    if ":" in adapter or adapter.endswith(".py"):
        return (FactoryAdapter(adapter),)
    raise AdapterError(
        f"expected the adapter to be auto, {', '.join(by_name)} or file.py:factory, found {one_line(adapter, 60)!r}; "
        "choose one of these"
    )
