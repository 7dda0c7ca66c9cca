"""Adapters of installed packages: entry points of the group `privaudit.adapters`.

A package declares `[project.entry-points."privaudit.adapters"]` with `NAME = "module:Class"`, a subclass of
`AbstractAdapter` that is built without arguments. Installing a package is the consent to run it.
"""

from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points

from privaudit.adapters.interface import (
    AbstractAdapter,
    AdapterDescription,
    AdapterRefusal,
    AttackTarget,
    InputOptions,
)  # fmt: skip
from privaudit.checkpoint import Checkpoint
from privaudit.text import one_line

GROUP = "privaudit.adapters"


class PluginAdapter(AbstractAdapter):
    """An adapter that is loaded when it is needed, so that a broken package is a reason among others."""

    description = AdapterDescription(
        option="NAME",
        networks="what an installed package adds (entry point group privaudit.adapters); none comes with privaudit",
        told_by="the package",
    )

    def __init__(self, entry: EntryPoint) -> None:
        self.name = entry.name
        self._entry = entry

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """What the package's adapter builds.

        Raises:
            AdapterRefusal: its own refusal, or that it cannot be loaded, fails or returns something else.
        """
        try:
            adapter = self._entry.load()()
            target = adapter.build(checkpoint, options)
        except AdapterRefusal:
            raise
        except Exception as error:  # of somebody else's package
            what = f"the plug-in {self._entry.value} failed with {type(error).__name__}"
            raise AdapterRefusal(f"{what}: {one_line(error, 120)}") from None
        if not isinstance(target, AttackTarget):
            raise AdapterRefusal(f"the plug-in {self._entry.value} gave a {type(target).__name__}, no AttackTarget")
        return target


def installed_adapters(taken: Collection[str]) -> dict[str, AbstractAdapter]:
    """Adapters of installed packages by name, alphabetically; names in `taken` cannot be replaced."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: PluginAdapter(entry) for entry in found if entry.name not in taken}
