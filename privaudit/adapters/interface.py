"""What an adapter turns a checkpoint into, and what an adapter is.

In: a `Checkpoint` (tensors and metadata) and what the user said about the inputs. Out: an `AttackTarget`, the only
thing the attack sees. Must not know training images.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from privaudit.checkpoint import Checkpoint


@dataclass(frozen=True)
class Preprocessing:
    """Pixels in [0, 1] to the network's inputs: `(pixels - mean) / std`.

    Attributes:
        mean: (C, H, W), or (C, 1, 1) for one number a channel; pixel units in [0, 1].
        std: the same shapes, positive; ones when the network only subtracts a mean.
        source: where it came from, in words that the report prints (attacker knowledge).
    """

    mean: Tensor
    std: Tensor
    source: str

    def to_inputs(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) pixels in [0, 1] to network inputs of the same shape."""
        return (pixels - self.mean.to(pixels)) / self.std.to(pixels)

    def to_pixels(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) network inputs to pixels; values outside [0, 1] are not clipped."""
        return inputs * self.std.to(inputs) + self.mean.to(inputs)


@dataclass(frozen=True)
class InputOptions:
    """What the user, a config file or metadata say about a network's inputs. None: not said.

    Attributes:
        input_shape: (C, H, W).
        activation: `relu` is the only one that adapters build; others are refused by name.
    """

    input_shape: tuple[int, int, int] | None = None
    activation: str | None = None


@dataclass(frozen=True)
class LayerInfo:
    """One layer as `inspect` prints it: name, kind (`linear`, `conv`, …), weight shape and whether it has a bias."""

    name: str
    kind: str
    shape: tuple[int, ...]
    has_bias: bool


@dataclass(frozen=True)
class AttackTarget:
    """A network to audit.

    Attributes:
        module: in evaluation mode, float32; maps inputs (N, C, H, W), already preprocessed, to outputs (N, K).
        adapter: registry name of the adapter that built it.
        input_shape: (C, H, W).
        n_outputs: K.
        layers: in the order of the forward pass.
        assumptions: sentences about what was assumed rather than read, for the log and the report.
        trained: where BatchNorm was folded, the module with the parameters that training moved; None: they are those
            of `module`.
    """

    module: nn.Module
    adapter: str
    input_shape: tuple[int, int, int]
    n_outputs: int
    layers: tuple[LayerInfo, ...]
    assumptions: tuple[str, ...] = field(default=())
    trained: nn.Module | None = None

    @property
    def as_trained(self) -> nn.Module:
        """The module whose parameters are those that training moved; the same function as `module`."""
        return self.module if self.trained is None else self.trained

    @property
    def n_parameters(self) -> int:
        """Number of scalars in the parameters that were trained."""
        return sum(p.numel() for p in self.as_trained.parameters())

    def outputs(self, inputs: Tensor) -> Tensor:
        """Forward pass without gradients, (N, C, H, W) to (N, K)."""
        with torch.no_grad():
            return self.module(inputs)  # type: ignore[no-any-return]


class AdapterRefusal(Exception):
    """Why an adapter does not fit a checkpoint; collected over all adapters and shown when none fits."""


_ANY_REBUILT = (
    "feature span of the first linear layer that is wider than the training set is large; without such a layer and "
    "without normalisation the multiplier equation (slow)"
)
_ANY_READABLE = "row space of the first linear layer, kinks of every ReLU, multipliers"


@dataclass(frozen=True)
class AdapterDescription:
    """A row of the table of architectures: what an adapter builds and what can be said about it.

    Attributes:
        option: what to give as `--adapter`; empty where it is found without.
        networks: which networks.
        told_by: what tells the architecture.
        rebuilt: by which attack images are rebuilt, and when.
        readable: what membership is read from.
    """

    option: str
    networks: str
    told_by: str
    rebuilt: str = _ANY_REBUILT
    readable: str = _ANY_READABLE


class AbstractAdapter(ABC):
    """A family of architectures, recognised from a checkpoint or named by the user."""

    name: str
    description: ClassVar[AdapterDescription]

    @abstractmethod
    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """The network with the checkpoint's weights.

        Raises:
            AdapterRefusal: the state dict is not of this family; the message says what does not fit.
        """
