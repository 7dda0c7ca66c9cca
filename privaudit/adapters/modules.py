"""From a module that somebody else wrote to an `AttackTarget`: weights loaded strictly, tried out, simplified.

Shared by the adapters that are handed a module (a user's file, model libraries, exported programs). All raise
`AdapterRefusal`.
"""

from typing import NoReturn

import torch
from torch import Tensor, nn

from privaudit.adapters.inputs import Shape, precision_assumption, shape_text, stated_shape
from privaudit.adapters.interface import AdapterRefusal, AttackTarget, InputOptions, LayerInfo
from privaudit.adapters.simplify import simplified
from privaudit.checkpoint import Checkpoint, unwrapped_names
from privaudit.derivatives import along
from privaudit.networks import frozen
from privaudit.text import listed, one_line

_COUNTER = "num_batches_tracked"  # of BatchNorm, without effect in evaluation mode; some savers leave it out


def module_target(
    module: nn.Module,
    checkpoint: Checkpoint,
    options: InputOptions,
    adapter: str,
    assumptions: tuple[str, ...],
    shape_hint: str = "as an option or as the network's attribute input_shape",
) -> AttackTarget:
    """The target for a module whose weights are loaded.

    Args:
        module: maps inputs (N, C, H, W) to outputs (N, K).
        checkpoint: for its metadata and precision.
        options: what is said about the inputs.
        adapter: name that the report shows.
        assumptions: sentences of the adapter.
        shape_hint: how the input shape can be stated, for the refusal where it is not.
    """
    module = frozen(module)
    shape = input_shape(module, checkpoint, options, shape_hint)
    n_outputs, layers = try_out(module, shape)
    require_derivatives(module, shape)
    simpler = simplified(module, shape)
    return AttackTarget(
        module=simpler.module,
        adapter=adapter,
        input_shape=shape,
        n_outputs=n_outputs,
        layers=layers,
        assumptions=(*assumptions, *simpler.sentences, *precision_assumption(checkpoint)),
        trained=simpler.trained,
    )


def refuse_failure(what: str, error: BaseException) -> NoReturn:
    """Whatever a foreign module raises, as a refusal of one line."""
    raise AdapterRefusal(f"{what} failed with {type(error).__name__}: {one_line(error, 120)}") from None


def load_strictly(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy the checkpoint's tensors into the module; names and shapes have to agree."""
    # The checkpoint's wrapper prefixes are gone; a network that has such names of its own loses them for comparison.
    expected = {short: name for name, short in unwrapped_names(module.state_dict()).items()}
    own = module.state_dict()
    missing = [name for name in expected if name not in tensors and not name.endswith(_COUNTER)]
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
        for name, tensor in tensors.items():
            own[expected[name]] = tensor  # keeps the versions of modules that travel with a state dict
        module.load_state_dict(own, strict=True)
    except Exception as error:
        refuse_failure("loading the weights", error)


def input_shape(module: nn.Module, checkpoint: Checkpoint, options: InputOptions, hint: str) -> Shape:
    """(C, H, W) as stated, else the module's own attribute `input_shape`."""
    stated = stated_shape(checkpoint, options)
    if stated is not None:
        return stated
    own = getattr(module, "input_shape", None)
    if own is None:
        raise AdapterRefusal(f"the input shape is not stated; give it {hint}")
    sizes = tuple(own) if isinstance(own, tuple | list | torch.Size) else ()
    if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise AdapterRefusal(f"the network's input_shape is {one_line(own, 40)}, expected (C, H, W)")
    return sizes[0], sizes[1], sizes[2]


def try_out(module: nn.Module, shape: Shape) -> tuple[int, tuple[LayerInfo, ...]]:
    """Number of outputs, and the layers in the order in which a forward pass of two images reaches them."""
    reached: dict[nn.Module, None] = {}
    hooks = [m.register_forward_hook(lambda m, *_: reached.setdefault(m)) for m in module.modules()]
    probe = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) - 0.5
    try:
        with torch.no_grad():
            outputs, alone = module(probe), module(probe[1:])
    except Exception as error:
        refuse_failure(f"a forward pass of 2x{shape_text(shape)} inputs", error)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != 2:
        found = f"shape {shape_text(tuple(outputs.shape))}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise AdapterRefusal(f"the network gives {found} for two images, expected outputs of shape 2xK")
    if alone.shape != outputs[1:].shape or not torch.allclose(
        alone, outputs[1:], 1e-3, 1e-3 * float(outputs.abs().max())
    ):
        raise AdapterRefusal("the outputs of an image depend on the other images of its batch, or on chance")
    names = {child: name for name, child in module.named_modules()}
    in_order = [*reached, *(child for child in names if child not in reached)]
    return outputs.shape[1], tuple(info for child in in_order for info in _infos(names[child], child))


def require_derivatives(module: nn.Module, shape: Shape) -> None:
    """Refuse a module that leaves torch on the way: no attack and no multiplier can pass through it.

    An operation for which torch has no forward mode is no refusal; what needs it says so where it is needed.
    """
    probe = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    try:
        outputs = module(probe)
        if not outputs.requires_grad:
            raise AdapterRefusal("torch cannot follow how outputs depend on inputs; leave out no_grad and numpy")
        torch.autograd.grad(outputs.sum(), probe, allow_unused=True)
        along(module, parameters, parameters, probe.detach())
    except AdapterRefusal:
        raise
    except NotImplementedError:
        return
    except Exception as error:
        if "forward AD" not in str(error) and "forward-mode" not in str(error):
            refuse_failure("differentiating the network", error)


def _infos(name: str, module: nn.Module) -> list[LayerInfo]:
    """One entry for a module's own weight, or one for each parameter where it has none of that name."""
    own = dict(module.named_parameters(recurse=False))
    kinds = {nn.Linear: "linear", nn.Conv1d: "conv", nn.Conv2d: "conv", nn.Conv3d: "conv"}
    kind = next((kind for family, kind in kinds.items() if isinstance(module, family)), type(module).__name__.lower())
    if "weight" in own:
        return [LayerInfo(name or "weight", kind, tuple(own["weight"].shape), "bias" in own)]
    prefix = f"{name}." if name else ""
    return [LayerInfo(prefix + key, "parameter", tuple(value.shape), False) for key, value in own.items()]
