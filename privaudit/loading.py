"""The first stages of every command: checkpoint, network, images, preprocessing, from settings.

In: `ScanSettings`. Out: `Loaded`. All user errors about inputs are raised here, before any work and any file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from privaudit.adapters import build_target, resolve_input_options
from privaudit.adapters.interface import AttackTarget, Preprocessing
from privaudit.checkpoint import Checkpoint, load_checkpoint
from privaudit.config import ScanSettings
from privaudit.data import ImageSet, load_images
from privaudit.errors import ConfigError
from privaudit.held_images import HeldImages, held_images
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.preprocessing import resolve_preprocessing
from privaudit.progress import ProgressListener


@dataclass(frozen=True)
class Loaded:
    """Everything a scan starts from.

    Attributes:
        checkpoint: what was read.
        target: the network, on `device`.
        held: training images and controls, each picture once; None without a reference.
        preprocessing: on the CPU.
        device: where to compute.
    """

    checkpoint: Checkpoint
    target: AttackTarget
    held: HeldImages | None
    preprocessing: Preprocessing
    device: torch.device

    @property
    def reference(self) -> ImageSet | None:
        """Training images, or None."""
        return None if self.held is None else self.held.reference

    @property
    def control(self) -> ImageSet | None:
        """Images never trained on, or None."""
        return None if self.held is None else self.held.control

    @property
    def knowledge(self) -> AttackerKnowledge:
        """What the attack is given beside the weights."""
        shape = self.target.input_shape
        mean, std = self.preprocessing.mean.expand(shape), self.preprocessing.std.expand(shape)
        sentences = (f"Preprocessing: {self.preprocessing.source}", *self.target.assumptions)
        return AttackerKnowledge(mean, std, sentences)


def load(settings: ScanSettings, listener: ProgressListener) -> Loaded:
    """Read everything the settings name.

    Raises:
        PrivauditError: anything that cannot be read or does not fit, in one line.
    """
    listener.stage("load", f"reading {settings.model}")
    device = choose_device(settings.device)
    checkpoint = load_checkpoint(settings.model)
    described = _described(checkpoint, settings)
    target = build_target(described, settings.adapter, resolve_input_options(described, settings.input_shape))
    shape = target.input_shape
    reference = _images(settings.reference, shape, "reference")
    control = _images(settings.control, shape, "control")
    held = None if reference is None else held_images(reference, control, settings.fpr, settings.seed)
    preprocessing = resolve_preprocessing(
        settings.mean, settings.std, checkpoint.metadata, shape, reference, checkpoint.path
    )
    target.module.to(device)
    loaded = Loaded(checkpoint, target, held, preprocessing, device)
    for sentence in (*loaded.knowledge.sentences, *_left_out(held)):
        listener.note(sentence)
    return loaded


def _left_out(held: HeldImages | None) -> Iterator[str]:
    """What of the user's images is not counted, and why."""
    if held is None:
        return
    if held.duplicates:
        yield f"{len(held.duplicates)} controls are also in the reference and were left out"
    if held.near_duplicates:
        repeated = sum(len(group) - 1 for group in held.near_duplicates)
        yield f"{repeated} images show the same picture as another one and were left out"
    if held.class_match is not None and held.class_match.reason:
        yield held.class_match.reason


def _described(checkpoint: Checkpoint, settings: ScanSettings) -> Checkpoint:
    """What adapters read: the checkpoint with what the user says of its convolutions in place of its own words."""
    given = {"stride": settings.stride, "padding": settings.padding, "pool": settings.pool}
    said = {name: value for name, value in given.items() if value is not None}
    return replace(checkpoint, metadata={**checkpoint.metadata, **said})


def _images(source: str | None, shape: tuple[int, int, int], role: str) -> ImageSet | None:
    return None if source is None else load_images(source, input_shape=shape, role=role)


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one.

    Raises:
        ConfigError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"expected a usable --device, found {name!r}: {reason}; use auto, cpu or cuda") from None
    return device


def on_device(preprocessing: Preprocessing, device: torch.device) -> Preprocessing:
    """The same preprocessing with its tensors on `device`."""
    return replace(preprocessing, mean=preprocessing.mean.to(device), std=preprocessing.std.to(device))
