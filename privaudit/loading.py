"""The first stages of every command: checkpoint, network, images, preprocessing, from settings.

In: `ScanSettings`. Out: `Loaded`. All user errors about inputs are raised here, before any work and any file.
"""

from dataclasses import dataclass, replace

import torch

from privaudit.adapters import build_target, resolve_input_options
from privaudit.adapters.interface import AttackTarget, Preprocessing
from privaudit.checkpoint import Checkpoint, load_checkpoint
from privaudit.config import ScanSettings
from privaudit.data import ImageSet, find_duplicates, load_images, without
from privaudit.errors import ConfigError, DataError
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.preprocessing import resolve_preprocessing
from privaudit.progress import ProgressListener


@dataclass(frozen=True)
class Loaded:
    """Everything a scan starts from.

    Attributes:
        checkpoint: what was read.
        target: the network, on `device`.
        reference: training images, or None; `control`: images never trained on, without those also in the reference.
        preprocessing: on the CPU.
        duplicates: names of controls left out because the reference holds the same image.
        device: where to compute.
    """

    checkpoint: Checkpoint
    target: AttackTarget
    reference: ImageSet | None
    control: ImageSet | None
    preprocessing: Preprocessing
    duplicates: tuple[str, ...]
    device: torch.device

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
    duplicates: tuple[str, ...] = ()
    if reference is not None and control is not None:
        control, duplicates = _distinct(reference, control)
    preprocessing = resolve_preprocessing(
        settings.mean, settings.std, checkpoint.metadata, shape, reference, checkpoint.path
    )
    target.module.to(device)
    loaded = Loaded(checkpoint, target, reference, control, preprocessing, duplicates, device)
    for sentence in loaded.knowledge.sentences:
        listener.note(sentence)
    if duplicates:
        listener.note(f"{len(duplicates)} controls are also in the reference and were left out")
    return loaded


def _described(checkpoint: Checkpoint, settings: ScanSettings) -> Checkpoint:
    """What adapters read: the checkpoint with what the user says of its convolutions in place of its own words."""
    given = {"stride": settings.stride, "padding": settings.padding, "pool": settings.pool}
    said = {name: value for name, value in given.items() if value is not None}
    return replace(checkpoint, metadata={**checkpoint.metadata, **said})


def _images(source: str | None, shape: tuple[int, int, int], role: str) -> ImageSet | None:
    return None if source is None else load_images(source, input_shape=shape, role=role)


def _distinct(reference: ImageSet, control: ImageSet) -> tuple[ImageSet, tuple[str, ...]]:
    repeated = sorted({index for _, index in find_duplicates(reference, control)})
    if len(repeated) == len(control):
        raise DataError(
            f"expected controls that were not trained on in {control.source}, found every one of its {len(control)} "
            f"images also in the reference {reference.source}; name other images"
        )
    return without(control, repeated), tuple(control.names[i] for i in repeated)


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
