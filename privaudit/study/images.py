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
        validation: what early stopping looks at, in neither of them; empty without early stopping.
        n_controls: at most the recipe's.
        n_outputs: that the network needs.
    """

    members: Labelled
    held_out: Labelled
    validation: Labelled
    n_controls: int
    n_outputs: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.members.pixels.shape
        return channels, height, width


@dataclass(frozen=True)
class _Pool:
    """(N, C, H, W) uint8 images, (N,) class numbers from 0, real targets where the source has some, its own labels."""

    pixels: Tensor
    classes: Tensor
    targets: Tensor | None
    names: Tensor


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
    n_kept = len(held_out) - (len(held_out) // 3 if recipe.early_stopping else 0)
    held_out, validation = held_out[:n_kept], held_out[n_kept:]
    is_positive = _positive(recipe, pool, wanted)
    wrong, shift = _noise(recipe, members, wanted, generator)
    classes = pool.classes.clone()
    if is_positive is None:
        classes[wrong] = (classes[wrong] + shift) % wanted
    else:
        is_positive[wrong] = ~is_positive[wrong]
    say, n_outputs = _targets(recipe, pool, classes, is_positive, wanted)
    return TrainingImages(
        _labelled(pool, members, *say(members)),
        _labelled(pool, held_out, *say(held_out)),
        _labelled(pool, validation, *say(validation)),
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


def _noise(recipe: Recipe, members: Tensor, n_classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The members that get a wrong label, and how many classes further it lies, drawn evenly."""
    n_wrong = round(recipe.label_noise * len(members))
    if n_wrong and n_classes < 2:
        raise ConfigError("expected two classes or more beside --label-noise, found one")
    wrong = members[torch.randperm(len(members), generator=generator)[:n_wrong]]
    return wrong, torch.randint(1, max(n_classes, 2), (n_wrong,), generator=generator)


def _positive(recipe: Recipe, pool: _Pool, n_classes: int) -> Tensor | None:
    """(N,) whether an image belongs to the group +1; None where there are no groups."""
    if recipe.labels != "two_groups":
        return None
    used = pool.names[:n_classes]
    wanted = torch.tensor(recipe.positive) if recipe.positive else used[n_classes // 2 :]
    unknown = [number for number in wanted.tolist() if number not in used.tolist()]
    if unknown:
        raise ConfigError(
            f"expected --positive among the labels {','.join(map(str, used.tolist()))}, found "
            f"{','.join(map(str, unknown))}; name labels of {recipe.data}"
        )
    if len(set(wanted.tolist())) == n_classes:
        raise ConfigError("expected two groups, found all labels on one side of --positive; name some of them, not all")
    return torch.isin(pool.names[pool.classes], wanted)


def _targets(
    recipe: Recipe, pool: _Pool, classes: Tensor, is_positive: Tensor | None, n_classes: int
) -> tuple[Callable[[Tensor], tuple[Tensor, Tensor]], int]:
    """Indices to (labels, targets), and the number of outputs."""
    if is_positive is not None:
        signs = 2 * is_positive.long() - 1
        if recipe.loss == "cross_entropy":
            return lambda chosen: (signs[chosen], is_positive[chosen].long()), 2
        return lambda chosen: (signs[chosen], signs[chosen].float()), 1
    if recipe.labels == "regression":
        spread = 2 * classes.float() / max(n_classes - 1, 1) - 1
        values = spread if pool.targets is None else pool.targets
        return lambda chosen: (classes[chosen], values[chosen]), 1
    if n_classes < 2:
        raise ConfigError(
            f"expected two classes or more to tell apart in {recipe.data}, found one; add one, or take "
            "--labels regression"
        )
    return lambda chosen: (classes[chosen], classes[chosen]), n_classes


def _read(recipe: Recipe) -> _Pool:
    if recipe.data == "faces":
        from skimage.data import lfw_subset

        pixels = np.rint(np.clip(lfw_subset(), 0, 1) * 255).astype(np.uint8)  # type: ignore[no-untyped-call]
        return _Pool(
            torch.from_numpy(pixels)[:, None], (torch.arange(len(pixels)) >= _N_FACES).long(), None, torch.arange(2)
        )
    if recipe.data == "digits":
        return _digits()
    images = load_images(recipe.data, input_shape=None, role="reference")
    targets = _stored_targets(recipe.data, len(images)) if recipe.labels == "regression" else None
    if images.labels is None and targets is None:
        raise DataError(
            f"expected labels with the images in {recipe.data}, found none; use class folders, or an .npz with labels"
        )
    labels = torch.zeros(len(images), dtype=torch.long) if images.labels is None else images.labels
    names, numbers = torch.unique(labels, return_inverse=True)
    return _Pool((images.pixels * 255).round().to(torch.uint8), numbers, targets, names)


def _digits() -> _Pool:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigError(
            "expected scikit-learn for --data digits, found none; install it with pip install 'privaudit[study]'"
        ) from None
    digits = load_digits()
    pixels = np.rint(digits.images / 16 * 255).astype(np.uint8)
    return _Pool(
        torch.from_numpy(pixels)[:, None], torch.from_numpy(digits.target.astype(np.int64)), None, torch.arange(10)
    )


def _stored_targets(source: str, n_images: int) -> Tensor | None:
    """The array `targets`, or `PREFIX_targets`, of an `.npz`."""
    file, suffix, prefix = source.partition(".npz")
    if not suffix or not Path(f"{file}.npz").is_file():
        return None
    key = f"{prefix.removeprefix(':')}_targets" if prefix else "targets"
    try:
        with np.load(f"{file}.npz", allow_pickle=False) as archive:
            if key not in archive:
                return None
            values = np.asarray(archive[key])
    except ValueError:
        raise DataError(f"expected plain numbers as {key} in {source}, found objects; store floats") from None
    if values.dtype.kind not in "iuf":
        values = np.empty(0)
    if values.shape != (n_images,) or not np.issubdtype(values.dtype, np.number) or not np.isfinite(values).all():
        raise DataError(
            f"expected {n_images} finite numbers as {key} in {source}, found {values.dtype} of {values.shape}; "
            "store one an image"
        )
    return torch.from_numpy(values.astype(np.float32))
