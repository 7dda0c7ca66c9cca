"""A user's own network: `file.py:factory` is imported and called, and the checkpoint's weights are loaded into it.

This is the only place where privaudit runs code that somebody names, and the target's assumptions say so.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn

from privaudit.adapters.interface import (
    AbstractAdapter,
    AdapterDescription,
    AdapterRefusal,
    AttackTarget,
    InputOptions,
)  # fmt: skip
from privaudit.adapters.modules import load_strictly, module_target, refuse_failure
from privaudit.checkpoint import Checkpoint
from privaudit.errors import AdapterError
from privaudit.text import listed, one_line

# Name under which the user's file is in sys.modules while it runs, which dataclasses in it need.
_MODULE_NAME = "privaudit_user_factory"


class FactoryAdapter(AbstractAdapter):
    """Builds what `function()` in `file` returns. Not in the registry: it exists only where a user names a file.

    Args:
        source: `file.py:function`.

    Raises:
        AdapterError: `source` has another form.
    """

    name = "factory"
    description = AdapterDescription(
        option="FILE.py:FUNCTION",
        networks="any module of yours; runs that file, named on the command line only",
        told_by="what the function returns",
    )

    def __init__(self, source: str) -> None:
        file, _, function = source.rpartition(":")
        if not file or not function.isidentifier():
            raise AdapterError(
                f"expected a factory as file.py:function, found {one_line(source, 60)!r}; name both of them"
            )
        self.source = source
        self.file = Path(file)
        self.function = function

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """The user's network with the checkpoint's weights, loaded strictly.

        Raises:
            AdapterRefusal: file or function missing or failing, names or shapes that differ from the checkpoint's, no
                input shape stated, or outputs that are not (N, K).
        """
        module = self._network()
        load_strictly(module, checkpoint.tensors)
        said = f"the architecture is what {self.function}() in {self.file} builds; that file was run"
        return module_target(module, checkpoint, options, self.source, (said,))

    def _network(self) -> nn.Module:
        if not self.file.is_file():
            raise AdapterRefusal(f"there is no file {self.file}")
        with _user_code(self.file), torch.random.fork_rng(devices=[]):
            try:
                module = self._factory()()
            except AdapterRefusal:
                raise
            # A user's file may raise anything, SystemExit included.
            except (Exception, SystemExit) as error:
                refuse_failure(f"running {self.source}", error)
        if not isinstance(module, nn.Module):
            raise AdapterRefusal(f"{self.function}() gave a {type(module).__name__}, expected a torch.nn.Module")
        return module

    def _factory(self) -> Callable[[], Any]:
        spec = importlib.util.spec_from_file_location(_MODULE_NAME, self.file)
        if spec is None or spec.loader is None:
            raise AdapterRefusal(f"{self.file} is no Python file")
        user_module = importlib.util.module_from_spec(spec)
        sys.modules[_MODULE_NAME] = user_module
        spec.loader.exec_module(user_module)
        function = getattr(user_module, self.function, None)
        if not callable(function):
            names = [name for name, value in vars(user_module).items() if callable(value) and not name.startswith("_")]
            raise AdapterRefusal(f"{self.file} has no function {self.function} (it has: {listed(names) or 'none'})")
        return function  # type: ignore[no-any-return]


@contextmanager
def _user_code(file: Path) -> Iterator[None]:
    """Imports from the file's own folder work, what it prints goes to stderr, and it leaves no path and no bytecode."""
    path, writes_bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(file.parent.resolve()))
    sys.dont_write_bytecode = True
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = writes_bytecode
        sys.modules.pop(_MODULE_NAME, None)


def user_function(source: str) -> Callable[..., Any]:
    """The function that `file.py:function` names; runs that file.

    Raises:
        AdapterRefusal: no such file or function.
        Exception: whatever the file raises.
    """
    adapter = FactoryAdapter(source)
    if not adapter.file.is_file():
        raise AdapterRefusal(f"there is no file {adapter.file}")
    with _user_code(adapter.file):
        return adapter._factory()
