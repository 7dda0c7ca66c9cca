"""Which images a target is trained on, and which are held out as controls.

In: a recipe. Out: `TrainingImages`, 8 bits a value, so that what is written beside the model is exactly what it was
trained on. Must not know networks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from privaudit.data import load_images
from privaudit.errors import ConfigError, DataError
from privaudit.study.recipe import Recipe

_N_FACES = 100  # the first 100 of lfw_subset are faces, the others are not
_MOST_HELD_OUT = 5000  # images that held-out accuracy is measured on


@dataclass(frozen=True)
class Labelled:
    """Images with what a network is to say of them.

    Attributes:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64 class numbers, or -1 and +1 for two groups; what is written as labels.
        targets: (N,) int64 class numbers, or float32 in the units of the target.
    """

    pixels: Tensor
    labels: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def first(self, n: int) -> "Labelled":
        """The first `n`."""
        return Labelled(self.pixels[:n], self.labels[:n], self.targets[:n])


@dataclass(frozen=True)
class TrainingImages:
    """A training set and images of the same classes that are not in it.

    Attributes:
        members: what is trained on.
        held_out: what is not; the first `n_controls` are the controls.
        n_controls: at most the recipe's.
        n_outputs: that the network needs.
    """

    members: Labelled
    held_out: Labelled
    n_controls: int
    n_outputs: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.members.pixels.shape
        return channels, height, width


@dataclass(frozen=True)
class _Pool:
    """(N, C, H, W) uint8 images, (N,) class numbers from 0, and real targets where the source has some."""

    pixels: Tensor
    classes: Tensor
    targets: Tensor | None


def choose_images(recipe: Recipe) -> TrainingImages:
    """Draw the training set, the same number of images of each class.

    Args:
        recipe: `data`, `classes`, `images_per_class`, `controls`, `labels`, `positive`, `label_noise`, `data_seed`.

    Raises:
        DataError: data that cannot be read, without labels, or with too few images.
        ConfigError: scikit-learn is needed and missing; more classes than there are, or groups that lack one.
    """
    pool = _read(recipe)
    n_classes = int(pool.classes.max()) + 1
    wanted = n_classes if recipe.classes is None else recipe.classes
    if wanted > n_classes:
        raise ConfigError(f"expected --classes of at most {n_classes} for {recipe.data}, found {wanted}")
    generator = torch.Generator().manual_seed(recipe.data_seed)
    drawn = [_shuffled(pool.classes == number, generator) for number in range(wanted)]
    n_each = _images_per_class(recipe, min(map(len, drawn)))
    members = torch.cat([indices[:n_each] for indices in drawn])
    held_out = _interleaved([indices[n_each:] for indices in drawn])[: max(_MOST_HELD_OUT, recipe.controls)]
    classes = _with_noise(pool.classes, members, wanted, recipe.label_noise, generator)
    say, n_outputs = _targets(recipe, pool, classes, wanted)
    return TrainingImages(
        _labelled(pool, members, *say(members)),
        _labelled(pool, held_out, *say(held_out)),
        min(recipe.controls, len(held_out)),
        n_outputs,
    )


def _labelled(pool: _Pool, indices: Tensor, labels: Tensor, targets: Tensor) -> Labelled:
    return Labelled(pool.pixels[indices], labels, targets)


def _shuffled(is_in: Tensor, generator: torch.Generator) -> Tensor:
    indices = is_in.nonzero().flatten()
    return indices[torch.randperm(len(indices), generator=generator)]


def _images_per_class(recipe: Recipe, smallest: int) -> int:
    if recipe.images_per_class is None:
        if smallest < 2:
            raise DataError(f"expected two images a class or more in {recipe.data}, found {smallest}; add images")
        return smallest // 2
    if recipe.images_per_class >= smallest:
        raise DataError(
            f"expected more than {recipe.images_per_class} images of every class in {recipe.data}, so that some are "
            f"left as controls, found a class of {smallest}; lower --images-per-class"
        )
    return recipe.images_per_class


def _interleaved(parts: list[Tensor]) -> Tensor:
    """One of each class in turn, as long as there are some."""
    longest = max(map(len, parts))
    return torch.cat([part[place : place + 1] for place in range(longest) for part in parts])


def _with_noise(classes: Tensor, members: Tensor, n_classes: int, share: float, generator: torch.Generator) -> Tensor:
    """Class numbers in which `share` of the members have another class, drawn evenly."""
    n_wrong = round(share * len(members))
    if not n_wrong:
        return classes
    if n_classes < 2:
        raise ConfigError("expected two classes or more beside --label-noise, found one")
    wrong = members[torch.randperm(len(members), generator=generator)[:n_wrong]]
    shift = torch.randint(1, n_classes, (n_wrong,), generator=generator)
    noisy = classes.clone()
    noisy[wrong] = (classes[wrong] + shift) % n_classes
    return noisy


def _targets(
    recipe: Recipe, pool: _Pool, classes: Tensor, n_classes: int
) -> tuple[Callable[[Tensor], tuple[Tensor, Tensor]], int]:
    """Indices to (labels, targets), and the number of outputs."""
    if recipe.labels == "classes":
        return lambda chosen: (classes[chosen], classes[chosen]), n_classes
    if recipe.labels == "regression":
        spread = 2 * classes.float() / max(n_classes - 1, 1) - 1
        values = spread if pool.targets is None else pool.targets
        return lambda chosen: (classes[chosen], values[chosen]), 1
    positive = torch.tensor(recipe.positive or range(n_classes // 2, n_classes))
    is_positive = torch.isin(classes, positive)
    used = classes < n_classes
    if not bool((is_positive & used).any()) or not bool((~is_positive & used).any()):
        raise ConfigError(
            f"expected two groups among the classes 0 to {n_classes - 1}, found all on one side of --positive "
            f"{','.join(map(str, positive.tolist()))}; name some of them, not all"
        )
    signs = 2 * is_positive.long() - 1
    if recipe.loss == "cross_entropy":
        return lambda chosen: (signs[chosen], is_positive[chosen].long()), 2
    return lambda chosen: (signs[chosen], signs[chosen].float()), 1


def _read(recipe: Recipe) -> _Pool:
    if recipe.data == "faces":
        from skimage.data import lfw_subset

        pixels = np.rint(np.clip(lfw_subset(), 0, 1) * 255).astype(np.uint8)  # type: ignore[no-untyped-call]
        return _Pool(torch.from_numpy(pixels)[:, None], (torch.arange(len(pixels)) >= _N_FACES).long(), None)
    if recipe.data == "digits":
        return _digits()
    images = load_images(recipe.data, input_shape=None, role="reference")
    targets = _stored_targets(recipe.data, len(images)) if recipe.labels == "regression" else None
    if images.labels is None and targets is None:
        raise DataError(
            f"expected labels with the images in {recipe.data}, found none; use class folders, or an .npz with labels"
        )
    labels = torch.zeros(len(images), dtype=torch.long) if images.labels is None else images.labels
    numbers = torch.unique(labels, return_inverse=True)[1]
    return _Pool((images.pixels * 255).round().to(torch.uint8), numbers, targets)


def _digits() -> _Pool:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigError(
            "expected scikit-learn for --data digits, found none; install it with pip install 'privaudit[study]'"
        ) from None
    digits = load_digits()
    pixels = np.rint(digits.images / 16 * 255).astype(np.uint8)
    return _Pool(torch.from_numpy(pixels)[:, None], torch.from_numpy(digits.target.astype(np.int64)), None)


def _stored_targets(source: str, n_images: int) -> Tensor | None:
    """The array `targets`, or `PREFIX_targets`, of an `.npz`."""
    file, suffix, prefix = source.partition(".npz")
    if not suffix or not Path(f"{file}.npz").is_file():
        return None
    key = f"{prefix.removeprefix(':')}_targets" if prefix else "targets"
    with np.load(f"{file}.npz", allow_pickle=False) as archive:
        if key not in archive:
            return None
        values = np.asarray(archive[key])
    if values.shape != (n_images,) or not np.issubdtype(values.dtype, np.number) or not np.isfinite(values).all():
        raise DataError(
            f"expected {n_images} finite numbers as {key} in {source}, found {values.dtype} of {values.shape}; "
            "store one an image"
        )
    return torch.from_numpy(values.astype(np.float32))
