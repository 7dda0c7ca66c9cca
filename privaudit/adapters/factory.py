"""A user's own network: `file.py:factory` is imported and called, and the checkpoint's weights are loaded into it.

This is the only place where privaudit runs code that somebody names, and the target's assumptions say so.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from privaudit.adapters.inputs import Shape, precision_assumption, shape_text, stated_shape
from privaudit.adapters.interface import AbstractAdapter, AdapterRefusal, AttackTarget, InputOptions, LayerInfo
from privaudit.checkpoint import Checkpoint, unwrapped_names
from privaudit.errors import AdapterError
from privaudit.networks import frozen
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
        _load_strictly(module, checkpoint.tensors)
        module = frozen(module)
        shape = _input_shape(module, checkpoint, options)
        n_outputs, layers = _try_out(module, shape)
        return AttackTarget(
            module=module,
            adapter=self.source,
            input_shape=shape,
            n_outputs=n_outputs,
            layers=layers,
            assumptions=(
                f"the architecture is what {self.function}() in {self.file} builds; that file was run",
                *precision_assumption(checkpoint),
            ),
        )

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
                _refuse_failure(f"running {self.source}", error)
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


def _refuse_failure(what: str, error: BaseException) -> NoReturn:
    raise AdapterRefusal(f"{what} failed with {type(error).__name__}: {one_line(error, 120)}") from None


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


def _load_strictly(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    # The checkpoint's wrapper prefixes are gone; a network that has such names of its own loses them for comparison.
    expected = {short: name for name, short in unwrapped_names(module.state_dict()).items()}
    own = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    shapes = [
        f"{name} ({shape_text(tuple(tensor.shape))} for {shape_text(tuple(own[expected[name]].shape))})"
        for name, tensor in tensors.items()
        if name in expected and tensor.shape != own[expected[name]].shape
    ]
    found = (
        ("missing in the file", missing),
        ("unknown to the network", unknown),
        ("of another shape than the network's", shapes),
    )
    if missing or unknown or shapes:
        raise AdapterRefusal("tensors do not match: " + "; ".join(f"{what}: {listed(n, 3)}" for what, n in found if n))
    try:
        module.load_state_dict({expected[name]: tensor for name, tensor in tensors.items()}, strict=True)
    except Exception as error:
        _refuse_failure("loading the weights", error)


def _input_shape(module: nn.Module, checkpoint: Checkpoint, options: InputOptions) -> Shape:
    stated = stated_shape(checkpoint, options)
    if stated is not None:
        return stated
    own = getattr(module, "input_shape", None)
    if own is None:
        raise AdapterRefusal(
            "the input shape is not stated; give it as an option or as the network's attribute input_shape"
        )
    sizes = tuple(own) if isinstance(own, tuple | list | torch.Size) else ()
    if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise AdapterRefusal(f"the network's input_shape is {one_line(own, 40)}, expected (C, H, W)")
    return sizes[0], sizes[1], sizes[2]


def _try_out(module: nn.Module, shape: Shape) -> tuple[int, tuple[LayerInfo, ...]]:
    """Number of outputs, and the layers in the order in which a forward pass of two grey images reaches them."""
    reached: dict[nn.Module, None] = {}
    hooks = [m.register_forward_hook(lambda m, *_: reached.setdefault(m)) for m in module.modules()]
    try:
        with torch.no_grad():
            outputs = module(torch.zeros(2, *shape))
    except Exception as error:
        _refuse_failure(f"a forward pass of 2x{shape_text(shape)} inputs", error)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != 2:
        found = f"shape {shape_text(tuple(outputs.shape))}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise AdapterRefusal(f"the network gives {found} for two images, expected outputs of shape 2xK")
    names = {child: name for name, child in module.named_modules()}
    in_order = [*reached, *(child for child in names if child not in reached)]
    return outputs.shape[1], tuple(info for child in in_order for info in _infos(names[child], child))


def _infos(name: str, module: nn.Module) -> list[LayerInfo]:
    """One entry for a module's own weight, or one for each parameter where it has none of that name."""
    own = dict(module.named_parameters(recurse=False))
    kinds = {nn.Linear: "linear", nn.Conv1d: "conv", nn.Conv2d: "conv", nn.Conv3d: "conv"}
    kind = next((kind for family, kind in kinds.items() if isinstance(module, family)), type(module).__name__.lower())
    if "weight" in own:
        return [LayerInfo(name or "weight", kind, tuple(own["weight"].shape), "bias" in own)]
    prefix = f"{name}." if name else ""
    return [LayerInfo(prefix + key, "parameter", tuple(value.shape), False) for key, value in own.items()]
