"""The same function in a form that the fast attacks know: BatchNorm folded, linear chains as `ReluMlp`.

In: a module in evaluation mode. Out: one that computes the same, checked in float64 on probes of several sizes, and
sentences about what was done. Where nothing is gained, or equality does not hold, the module itself comes back.
"""

import copy
import warnings
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from privaudit.networks import ReluMlp, frozen

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TOLERANCE = 1e-9  # of outputs in float64: folding reorders sums, anything else differs by far more
_PROBE_SIZES = (0.1, 1.0, 30.0)  # small and large inputs, so that clipped and leaky activations do not pass for ReLU
_N_PROBES = 8


@dataclass(frozen=True)
class Simplified:
    """A module, what was done to it, and the one before where its parameters are no longer those that were trained."""

    module: nn.Module
    sentences: tuple[str, ...] = ()
    trained: nn.Module | None = None

    @property
    def is_folded(self) -> bool:
        """Whether a normalisation went into other weights."""
        return self.trained is not None


def simplified(module: nn.Module, shape: tuple[int, int, int]) -> Simplified:
    """Fold BatchNorm where that is exact, then take a linear chain as `ReluMlp`.

    Args:
        module: in evaluation mode; not changed.
        shape: (C, H, W) of its inputs.
    """
    if isinstance(module, ReluMlp) or not (_n_normalisations(module) or _is_all_linear(module)):
        return Simplified(module)
    precise = copy.deepcopy(module).double()
    if not _computes(precise, shape):
        return Simplified(module)
    sentences: list[str] = []
    folded = _folded(precise, shape)
    if folded is not None:
        n_before, n_left = _n_normalisations(precise), _n_normalisations(folded)
        rest = f"; {n_left} other normalisations stay as they are" if n_left else ""
        sentences.append(
            f"{n_before - n_left} BatchNorm layers folded into the layers before them, exact in evaluation mode{rest}"
        )
    chain = _chain(folded or precise, shape)
    if chain is not None and folded is None:
        sentences.append("a chain of linear layers with ReLU: computed as such")
    if chain is None and folded is None:
        return Simplified(module)
    return Simplified(frozen(chain or folded or module), tuple(sentences), None if folded is None else module)


def _computes(module: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether the module runs in float64 and answers the same twice."""
    try:
        return _equal(module, module, shape)
    except Exception:  # a user's module may raise anything, for instance where it creates float32 tensors
        return False


def _folded(module: nn.Module, shape: tuple[int, int, int]) -> nn.Module | None:
    """With every BatchNorm that directly follows a convolution or a linear layer folded; None: none could be."""
    n_before = _n_normalisations(module)
    if not n_before:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scaled = _with_scales(module)
            fused = fuse(fx.GraphModule(scaled, fx.Tracer().trace(scaled)), inplace=False, no_trace=True)
        is_same = _n_normalisations(fused) < n_before and _equal(module, fused, shape)
    except Exception:  # control flow that depends on data cannot be traced; the module is then taken as it is
        return None
    return fused if is_same else None


def _with_scales(module: nn.Module) -> nn.Module:
    """A copy whose normalisations all have a weight and a bias: torch folds no others behind linear layers."""
    module = copy.deepcopy(module)
    for child in module.modules():
        if isinstance(child, _NORMALISATIONS) and child.running_mean is not None and not child.affine:
            child.weight = nn.Parameter(torch.ones_like(child.running_mean))
            child.bias = nn.Parameter(torch.zeros_like(child.running_mean))
    return module


def _is_all_linear(module: nn.Module) -> bool:
    owned = sum(p.numel() for layer in module.modules() if type(layer) is nn.Linear for p in layer.parameters())
    return owned == sum(p.numel() for p in module.parameters())


def _n_normalisations(module: nn.Module) -> int:
    return sum(isinstance(child, _NORMALISATIONS) for child in module.modules())


def _chain(module: nn.Module, shape: tuple[int, int, int]) -> ReluMlp | None:
    """`ReluMlp` of the linear layers in the order of the forward pass, if that is what the module computes."""
    linear: list[nn.Linear] = []

    def note(layer: nn.Module, _: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        linear.append(layer)

    layers = [child for child in module.modules() if type(child) is nn.Linear]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            module(torch.zeros(1, *shape, dtype=torch.float64))
    finally:
        for handle in handles:
            handle.remove()
    n_inputs = shape[0] * shape[1] * shape[2]
    if not linear or len(linear) != len(layers) or not _is_all_linear(module):
        return None
    if linear[0].in_features != n_inputs or any(a.out_features != b.in_features for a, b in pairwise(linear)):
        return None
    chain = ReluMlp(copy.deepcopy(layer) for layer in linear)
    return chain if _equal(module, chain, shape) else None


def _equal(one: nn.Module, other: nn.Module, shape: tuple[int, int, int]) -> bool:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for size in _PROBE_SIZES:
            probe = size * torch.randn(_N_PROBES, *shape, generator=generator, dtype=torch.float64)
            expected, found = one(probe), other(probe)
            if found.shape != expected.shape or not bool(expected.isfinite().all()):
                return False
            if float((found - expected).abs().max()) > _TOLERANCE * float(expected.abs().max().clamp_min(1e-30)):
                return False
    return True
