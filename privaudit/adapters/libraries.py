"""Networks of model libraries by name: `torchvision:NAME` and `timm:NAME`, weights loaded strictly.

The number of classes is read off the head. Nothing is downloaded: names are looked up in the library's own list, and
weights come from the checkpoint alone.
"""

import difflib
import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

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


class _LibraryAdapter(AbstractAdapter):
    """A network of a library. Not in the registry: state dicts of different networks have the same names.

    Args:
        model: its name in the library.
    """

    library: str

    def __init__(self, model: str) -> None:
        self.model = model
        self.name = f"{self.library}:{model}"

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """The network with the checkpoint's weights.

        Raises:
            AdapterError: the library is not installed.
            AdapterRefusal: no such network, names or shapes that differ, no input shape stated, or outputs that are not
                (N, K).
        """
        names = self._names()
        if self.model not in names:
            near = difflib.get_close_matches(self.model, names, 3) or names[:3]
            raise AdapterRefusal(
                f"{self.library} has no classification network of that name; did you mean {listed(near)}?"
            )
        size = None if options.input_shape is None else options.input_shape[1]
        extra = self._extra(checkpoint.tensors, size)
        try:
            with torch.random.fork_rng(devices=[]):
                n_classes = head_size(self._sketch(extra).state_dict(), checkpoint.tensors)
                module = self._create({**extra, **({"num_classes": n_classes} if n_classes else {})})
        except Exception as error:
            refuse_failure(f"building {self.name}", error)
        load_strictly(module, checkpoint.tensors)
        said = f"the architecture is {self.model} of {self.library}, its number of classes read off the head"
        return module_target(module, checkpoint, options, self.name, (said,), f"with --input-shape ({self._hint()})")

    def _sketch(self, arguments: Mapping[str, Any]) -> nn.Module:
        """The network with the library's own number of classes, without memory where its construction allows that."""
        try:
            with torch.device("meta"):
                return self._create(arguments)
        except NotImplementedError:  # the RegNets of torchvision compute their widths with tensors
            return self._create(arguments)

    @abstractmethod
    def _names(self) -> Sequence[str]:
        """Classification networks of the library."""

    @abstractmethod
    def _create(self, arguments: Mapping[str, Any]) -> nn.Module:
        """The network, randomly initialised."""

    def _extra(self, tensors: Mapping[str, Tensor], size: int | None) -> dict[str, Any]:
        """Arguments that the tensors or the side of the inputs decide."""
        return {}

    def _hint(self) -> str:
        """The size that the library's own weights take."""
        return "its published weights take 3,224,224"


class TorchvisionAdapter(_LibraryAdapter):
    """`torchvision:NAME`."""

    library = "torchvision"
    description = AdapterDescription(
        option="torchvision:NAME",
        networks="every classification network of torchvision",
        told_by="the name; classes from the head; weights loaded strictly",
    )

    def _names(self) -> Sequence[str]:
        from torchvision import models

        return [str(name) for name in models.list_models(module=models)]

    def _create(self, arguments: Mapping[str, Any]) -> nn.Module:
        from torchvision import models

        module: nn.Module = models.get_model(self.model, weights=None, **arguments)
        return module

    def _extra(self, tensors: Mapping[str, Tensor], size: int | None) -> dict[str, Any]:
        if self.model in ("googlenet", "inception_v3"):  # their own initialisation takes a minute and is overwritten
            has_auxiliary = any(name.lower().startswith("aux") for name in tensors)
            return {"init_weights": False, "aux_logits": has_auxiliary}
        if self.model.startswith("vit_") and size is not None:
            return {"image_size": size}
        if self.model.startswith("maxvit") and size is not None:
            return {"input_size": (size, size)}
        return {}

    def _hint(self) -> str:
        return "its published weights take 3,299,299" if self.model == "inception_v3" else super()._hint()


class TimmAdapter(_LibraryAdapter):
    """`timm:NAME`, with the extra `privaudit[timm]`."""

    library = "timm"
    description = AdapterDescription(
        option="timm:NAME",
        networks='every network of timm (pip install "privaudit[timm]")',
        told_by="the name; classes from the head; weights loaded strictly",
    )

    def _names(self) -> Sequence[str]:
        return [str(name) for name in _timm().list_models()]

    def _create(self, arguments: Mapping[str, Any]) -> nn.Module:
        module: nn.Module = _timm().create_model(self.model, pretrained=False, **arguments)
        return module

    def _hint(self) -> str:
        sizes = getattr(_timm().get_pretrained_cfg(self.model, allow_unregistered=True), "input_size", (3, 224, 224))
        return f"its published weights take {','.join(map(str, sizes))}"


LIBRARIES: Mapping[str, type[_LibraryAdapter]] = {
    adapter.library: adapter for adapter in (TorchvisionAdapter, TimmAdapter)
}
"""Library adapters by what stands before the colon."""


def _timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise AdapterError(
            "expected the package timm for --adapter timm:NAME, found that it is not installed; "
            'run pip install "privaudit[timm]"'
        ) from None


def head_size(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> int | None:
    """The number of classes for which a network has to be built so that the checkpoint fits; None: as it is.

    A head of K classes has tensors that differ from the default's in their first dimension alone, and there all are K.
    """
    differing = {
        name: tuple(tensor.shape) for name, tensor in tensors.items() if name in own and tensor.shape != own[name].shape
    }
    sizes = {shape[0] if shape else 0 for shape in differing.values()}
    if len(sizes) != 1 or any(shape[1:] != tuple(own[name].shape)[1:] for name, shape in differing.items()):
        return None  # the strict loading that follows names what does not fit
    return sizes.pop()


def library_adapter(source: str) -> AbstractAdapter | None:
    """The adapter for `torchvision:NAME` or `timm:NAME`; None for anything else.

    Raises:
        AdapterError: no name behind the colon.
    """
    library, colon, model = source.partition(":")
    if library not in LIBRARIES or source.endswith(".py"):
        return None
    if not colon or not model:
        raise AdapterError(f"expected a network as {library}:NAME, found {one_line(source, 60)!r}; name the network")
    return LIBRARIES[library](model)
