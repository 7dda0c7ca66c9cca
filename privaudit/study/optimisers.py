"""The optimiser that a recipe names, and how it changes batches at random.

Must know neither files nor what is held out.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.errors import ConfigError
from privaudit.study.recipe import Recipe
from privaudit.training.private import PrivateSgd
from privaudit.training.problem import TrainingProblem
from privaudit.training.steppers import AbstractStepper, BatchPlan, FirstOrder, GrowingDescent, Lbfgs

_RATES = {"gd": 0.01, "sgd": 0.05, "adam": 1e-3, "adamw": 1e-3}
_LARGEST_SHIFT = 2  # pixels, of augmentation


def choose_stepper(recipe: Recipe, problem: TrainingProblem) -> AbstractStepper:
    """What moves the parameters.

    Raises:
        ConfigError: DP-SGD without Opacus, or for a network that it refuses; batch normalisation of a single image.
    """
    _refuse_batch_of_one(recipe, problem)
    if recipe.optimiser == "lbfgs":
        return Lbfgs(problem)
    rate = recipe.learning_rate or _RATES[recipe.optimiser]
    if recipe.optimiser == "gd" and recipe.augmentation == "none":
        return GrowingDescent(problem, rate, recipe.momentum)
    plan = BatchPlan(
        size=min(recipe.batch_size or len(problem.inputs), len(problem.inputs)),
        epochs=recipe.epochs,
        seed=recipe.seed,
        augment=_augmentation(recipe),
        is_cosine=recipe.schedule == "cosine",
    )
    if recipe.optimiser in ("gd", "sgd"):
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            problem.parameters, rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
    else:
        family = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
        optimiser = family(problem.parameters, rate, weight_decay=recipe.weight_decay)
    if recipe.dp_noise:
        return PrivateSgd(problem, optimiser, plan, recipe.dp_noise, recipe.dp_clip)
    return FirstOrder(problem, optimiser, plan)


def _refuse_batch_of_one(recipe: Recipe, problem: TrainingProblem) -> None:
    """Batch normalisation has no variance of one image, and PyTorch ends with an error in the middle of an epoch."""
    n_images = len(problem.inputs)
    last = n_images % recipe.batch_size if recipe.batch_size else n_images
    if 1 in (last, recipe.batch_size) and any(isinstance(m, _BatchNorm) for m in problem.module.modules()):
        raise ConfigError(
            f"expected two images or more in every batch of a network with batch normalisation, found {n_images} "
            f"images in batches of {recipe.batch_size or n_images}; choose another --batch-size"
        )


def _augmentation(recipe: Recipe) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    if recipe.augmentation == "none":
        return None
    largest = _LARGEST_SHIFT if recipe.augmentation == "flip_shift" else 0

    def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
        is_mirrored = (torch.rand(len(batch), generator=generator) < 0.5).to(batch.device)
        moved = torch.where(is_mirrored[:, None, None, None], batch.flip(3), batch)
        if largest:
            # Inputs are centred, so that what moves in from outside is the mean image: zeros.
            padded = nn.functional.pad(moved, (largest,) * 4)
            shifts = torch.randint(0, 2 * largest + 1, (len(batch), 2), generator=generator).tolist()
            height, width = batch.shape[2:]
            moved = torch.stack(
                [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, shifts, strict=True)]
            )
        return moved

    return augment
