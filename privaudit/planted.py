"""Networks whose leak is known: some public pictures learnt by heart with weight decay, or the same net untrained.

Out: pictures, trained and untrained weights, metadata; what the demo and the check of the instrument audit. The
pictures are scikit-image's `lfw_subset` (200 grey 25×25 crops of photographs, 100 of them faces), public and shipped
with that package. Must know neither files nor the attack.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.data import lfw_subset
from torch import Tensor

from privaudit.training import TrainedNetwork, TrainingSettings, train, untrained_tensors

_N_FACES = 100  # the first 100 of lfw_subset are faces, the others are not


@dataclass(frozen=True)
class Planted:
    """What is trained on what.

    Attributes:
        members: (n, 25, 25) uint8, half of them faces: what the network is trained on.
        controls: (200 - n, 25, 25) uint8, half of them faces: never seen by it.
        mean: (25, 25) float32 in [0, 1], mean of the members, subtracted from every input.
        settings: of the training; every member is a class of its own, so that the network must tell all apart.
    """

    members: NDArray[np.uint8]
    controls: NDArray[np.uint8]
    mean: NDArray[np.float32]
    settings: TrainingSettings

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) class of each member."""
        return np.arange(len(self.members), dtype=np.int64)

    @property
    def metadata(self) -> dict[str, str]:
        """What a safetensors header says of either network."""
        return {
            "architecture": "-".join(map(str, self.settings.widths)),
            "input_shape": ",".join(map(str, (1, *self.mean.shape))),
            "activation": "relu",
            "loss": self.settings.loss,
            "weight_decay": str(self.settings.weight_decay),
            "init": "PyTorch default; bias in the first layer only",
            "preprocessing": "pixels minus the mean image of the training set",
        }

    def trained(self, on_progress: Callable[[float, float, float], None] | None = None) -> TrainedNetwork:
        """Train it; seconds on one core."""
        inputs = _pixels(self.members) - torch.from_numpy(self.mean)
        with one_thread():
            return train(inputs, torch.from_numpy(self.labels), self.settings, on_progress)

    def untrained(self) -> dict[str, Tensor]:
        """The weights that training starts from."""
        return untrained_tensors(self.settings)

    def strangers(self) -> "Planted":
        """The same network with as many of the controls, half of them faces, in the members' place."""
        n_faces, half = len(self.controls) // 2, len(self.members) // 2
        chosen = np.concatenate([np.arange(half), n_faces + np.arange(half)])
        return replace(self, members=self.controls[chosen], controls=np.delete(self.controls, chosen, axis=0))


def plant(n_members: int, width: int, weight_decay: float, max_steps: int) -> Planted:
    """Pictures and the recipe of a network with two hidden layers.

    Args:
        n_members: even; at most 100, so that there are controls for a false-positive rate of 1 %.
        width: of both hidden layers.
        weight_decay: of the training, `max_steps` its longest duration.
    """
    assert n_members % 2 == 0 and 0 < n_members <= _N_FACES
    half = n_members // 2
    pictures = np.rint(np.clip(lfw_subset(), 0, 1) * 255).astype(np.uint8)  # type: ignore[no-untyped-call]
    chosen = np.concatenate([np.arange(half), _N_FACES + np.arange(half)])
    members = pictures[chosen]
    mean = _pixels(members).mean(0).numpy()
    settings = TrainingSettings((mean.size, width, width, n_members), "cross_entropy", weight_decay, max_steps)
    return Planted(members, np.delete(pictures, chosen, axis=0), mean, settings)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core: small matrices gain nothing from more, and threads that wait for each other cost minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pixels(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures).float() / 255
