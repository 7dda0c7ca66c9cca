"""How a target network is trained: everything `privaudit train` can be told.

In: values of options or of a TOML file. Out: a `Recipe` without a contradiction, or a `ConfigError` of one line. Knows
no tensors and reads no files.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from privaudit.errors import ConfigError

Labels = Literal["classes", "two_groups", "regression"]
Init = Literal["default", "small"]
Bias = Literal["first", "all"]
Optimiser = Literal["lbfgs", "gd", "sgd", "adam", "adamw"]
Augmentation = Literal["none", "flip", "flip_shift"]

_LEAST_NOISE, _WIDEST = 0.01, 100_000
LARGEST_SEED = 2**62
SHIPPED = ("faces", "digits")
_LOSS_WITHOUT_DECAY = 1e-6  # far past the point where all margins are met
LOSSES = ("cross_entropy", "logistic", "mse", "huber", "power:P")
_NAMED_LOSS = re.compile(r"cross_entropy|logistic|mse|huber|power:\d+(\.\d+)?")


class Recipe(BaseModel):
    """A target network and how it is trained. Field names are the command line's, with underscores.

    Attributes:
        data: where images come from: `faces` (scikit-image's `lfw_subset`) or `digits` (scikit-learn's), a folder of
            class folders, `.npz` (optionally `file.npz:PREFIX`) or `torchvision:NAME`.
        classes: how many classes are used, the first ones; None: all.
        images_per_class: training images of each class, drawn by `data_seed`; None: as many as leave half of the
            smallest class for controls.
        controls: images held out at most, of the same classes in the same shares; written beside the model. Held-out
            accuracy is measured on them and on what else the data have left over.
        labels: `classes`; `two_groups`, ±1 for two groups of classes; or `regression`, the array `targets` beside the
            images of an `.npz`, else the class number spread over [-1, 1].
        positive: classes of the group +1; empty: the upper half.
        label_noise: share of the training images that get a label of another class, in [0, 1).
        architecture: `mlp`, `convnet` (convolutions in front of an MLP), or `file.py:factory`, which runs that file.
        hidden: widths of the hidden linear layers.
        channels: of the convolutions, each `kernel` wide, with `stride` and no padding, `pool` behind each.
        kernel: side of the convolutions in pixels; `stride` theirs.
        pool: `none`, or `max2` or `avg2` behind each convolution.
        loss: `cross_entropy`, `logistic`, `mse`, `huber` (δ = 1), `power:P` for |output - target|^P, or `file.py:loss`,
            a function of outputs (N, K) and targets (N,) that returns the mean loss, which runs that file.
        weight_decay: λ of `loss + λ/2 ‖θ‖²`, biases included; 0 for none. With `adamw` it is decoupled.
        init: of the first layer: PyTorch's `default`, or `small`, N(0, 1)·1e-4 (Haim et al. 2022); the others default.
        bias: in the `first` layer only, as in the papers, or in `all` layers.
        optimiser: `lbfgs` and `gd` see all images in every step; `sgd`, `adam` and `adamw` may use batches.
        learning_rate: None: by the optimiser. `gd` lengthens its steps while the loss falls and shortens them when it
            does not, so that this is only where it starts; `lbfgs` searches along lines.
        schedule: of the learning rate of `sgd`, `adam` and `adamw`: `constant`, or falling to 0 along a `cosine`.
        momentum: of `gd` and `sgd`, in [0, 1).
        batch_size: images a step; None: all of them.
        epochs: passes over the data at most; of `lbfgs`, steps, which it takes 20 at a time.
        tolerance: stationarity residual at which training with weight decay ends earlier; 0: never. Without decay the
            weights grow for ever, and no residual says how far they have come.
        stop_loss: mean loss, without the decay, at which training ends earlier; 0: never; None: 1e-6 without weight
            decay, otherwise never.
        early_stopping: epochs without a better held-out accuracy (loss for regression) after which training ends, and
            the best weights are kept; 0: never.
        augmentation: of every batch: mirrored at random, and shifted by up to 2 pixels.
        dp_noise: noise multiplier of DP-SGD (Opacus), 0 for none; `dp_clip` the norm that gradients of single images
            are clipped to.
        seed: of initial weights, batches, noise; `data_seed` of the choice of images and of label noise.

    Raises:
        ConfigError: values that contradict each other or lie outside their range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = "faces"
    classes: int | None = None
    images_per_class: int | None = None
    controls: int = 500
    labels: Labels = "classes"
    positive: tuple[int, ...] = ()
    label_noise: float = 0.0
    architecture: str = "mlp"
    hidden: tuple[int, ...] = (1000, 1000)
    channels: tuple[int, ...] = (32,)
    kernel: int = 3
    stride: int = 1
    pool: Literal["none", "max2", "avg2"] = "none"
    loss: str = "cross_entropy"
    weight_decay: float = 1e-3
    init: Init = "default"
    bias: Bias = "first"
    optimiser: Optimiser = "lbfgs"
    learning_rate: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    momentum: float = 0.0
    batch_size: int | None = None
    epochs: int = 2000
    tolerance: float = 0.1
    stop_loss: float | None = None
    early_stopping: int = 0
    augmentation: Augmentation = "none"
    dp_noise: float = 0.0
    dp_clip: float = 1.0
    seed: int = 0
    data_seed: int = 0

    @field_validator("hidden", "channels", "positive", mode="before")
    @classmethod
    def _numbers_from_text(cls, value: object) -> object:
        """`"1000,1000"`, `"1000-1000"` or one number to a tuple."""
        if isinstance(value, str):
            return tuple(part for part in re.split(r"[,\s]+|(?<=\d)-(?=\d)", value.strip()) if part)
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        if not _NAMED_LOSS.fullmatch(value) and not runs_code(value):
            raise ConfigError(
                f"expected --loss as one of {', '.join(LOSSES)} or file.py:function, found {value!r}; name one of them"
            )
        return value

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: str) -> str:
        if value not in ("mlp", "convnet") and not runs_code(value):
            raise ConfigError(
                f"expected --architecture as mlp, convnet or file.py:factory, found {value!r}; name one of them"
            )
        return value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "Recipe":
        for message in _contradictions(self):
            raise ConfigError(message)
        return self

    @property
    def power(self) -> float:
        """P of `power:P`."""
        return float(self.loss.partition(":")[2])

    @property
    def enough(self) -> tuple[float, float]:
        """Residual and loss at which training ends; 0: never."""
        if self.dp_noise:
            return 0.0, 0.0  # the guarantee does not cover a look at the training set
        if self.weight_decay:
            return self.tolerance, self.stop_loss or 0.0
        return 0.0, _LOSS_WITHOUT_DECAY if self.stop_loss is None else self.stop_loss

    @property
    def uses_all_images(self) -> bool:
        """Whether every step sees the whole training set."""
        return self.optimiser in ("lbfgs", "gd") or self.batch_size is None

    @property
    def code(self) -> tuple[str, ...]:
        """Files of the user's that training runs."""
        return tuple(value for value in (self.architecture, self.loss) if runs_code(value))


def runs_code(value: str) -> bool:
    """Whether a value names a function in a file rather than something that privaudit knows."""
    file, _, function = value.rpartition(":")
    return file.endswith(".py") and function.isidentifier()


def absolute(name: str, value: object, folder: Path) -> object:
    """A setting with a relative path in it resolved against `folder`; anything else as it is."""
    is_path = name == "data" and value not in SHIPPED and not str(value).startswith("torchvision:")
    is_code = name in ("architecture", "loss") and runs_code(str(value))
    return str(folder.absolute() / Path(str(value)).expanduser()) if is_path or is_code else value


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """One sentence for each value out of range and each pair that cannot both hold."""
    for name in ("kernel", "stride", "epochs", "controls"):
        if getattr(recipe, name) < 1:
            yield f"expected --{name} of at least 1, found {getattr(recipe, name)}"
    for name in ("classes", "images_per_class", "batch_size"):
        number = getattr(recipe, name)
        if number is not None and number < 1:
            yield f"expected --{name.replace('_', '-')} of at least 1, found {number}; leave it out for all"
    for name in ("weight_decay", "tolerance", "stop_loss", "early_stopping", "dp_noise", "seed", "data_seed"):
        number = getattr(recipe, name)
        if number is not None and not (number >= 0 and math.isfinite(number)):
            yield f"expected --{name.replace('_', '-')} of at least 0, found {number}"
    for name in ("label_noise", "momentum"):
        if not 0 <= getattr(recipe, name) < 1:
            yield f"expected --{name.replace('_', '-')} in [0, 1), found {getattr(recipe, name)}"
    rate = recipe.learning_rate
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        yield f"expected --learning-rate above 0, found {rate}; leave it out for a start by the optimiser"
    if not (recipe.dp_clip > 0 and math.isfinite(recipe.dp_clip)):
        yield f"expected --dp-clip above 0, found {recipe.dp_clip}"
    for name in ("seed", "data_seed"):
        if getattr(recipe, name) >= LARGEST_SEED:
            yield f"expected --{name.replace('_', '-')} below 2^62, found {getattr(recipe, name)}"
    if recipe.dp_noise and recipe.dp_noise < _LEAST_NOISE:
        yield f"expected --dp-noise of 0 or at least {_LEAST_NOISE}, found {recipe.dp_noise}"
    if max((*recipe.hidden, *recipe.channels, recipe.kernel, *recipe.positive), default=1) > _WIDEST:
        yield f"expected widths, channels and classes of at most {_WIDEST}, found more; lower them"
    if recipe.loss.startswith("power:") and recipe.power < 1:
        yield f"expected a power of at least 1 in --loss power:P, found {recipe.power:g}"
    if min((*recipe.hidden, *recipe.channels), default=1) < 1:
        yield f"expected widths and channels of at least 1, found {recipe.hidden} and {recipe.channels}"
    yield from _contradicting_pairs(recipe)


def _contradicting_pairs(recipe: Recipe) -> Iterator[str]:
    is_classes = recipe.labels == "classes"
    if recipe.loss == "cross_entropy" and recipe.labels == "regression":
        yield "expected --loss mse, huber or power:P for --labels regression, found cross_entropy; choose one of them"
    if recipe.loss == "logistic" and recipe.labels != "two_groups":
        yield f"expected --labels two_groups for --loss logistic, found {recipe.labels}; it has two sides, ±1"
    if is_classes and recipe.loss != "cross_entropy" and not runs_code(recipe.loss):
        yield (
            f"expected --loss cross_entropy for --labels classes, found {recipe.loss}; take --labels two_groups or "
            "regression, which have one number as target"
        )
    if recipe.positive and recipe.labels != "two_groups":
        yield f"expected --labels two_groups beside --positive, found {recipe.labels}"
    if recipe.label_noise and recipe.labels == "regression":
        yield "expected no --label-noise for --labels regression, found some; there are no other classes to draw from"
    if recipe.optimiser in ("lbfgs", "gd"):
        for name in ("batch_size", "dp_noise"):
            if getattr(recipe, name):
                yield (
                    f"expected --optimiser sgd, adam or adamw beside --{name.replace('_', '-')}, found "
                    f"{recipe.optimiser}, which sees all images at once"
                )
    if recipe.optimiser == "lbfgs" and recipe.augmentation != "none":
        yield "expected another --optimiser beside --augmentation, found lbfgs, whose lines need the same images"
    if recipe.optimiser in ("lbfgs", "adam", "adamw") and recipe.momentum:
        yield f"expected --optimiser gd or sgd beside --momentum, found {recipe.optimiser}"
    if recipe.dp_noise and recipe.augmentation != "none":
        yield "expected no --augmentation beside --dp-noise, found one; drop one of them"
    yield from _without_effect(recipe)


def _without_effect(recipe: Recipe) -> Iterator[str]:
    """Settings that were given and would change nothing, which whoever gave them expects them to."""
    if recipe.architecture != "convnet":
        yield from _given(
            recipe, ("channels", "kernel", "stride", "pool"), "--architecture convnet", recipe.architecture
        )
    if runs_code(recipe.architecture):
        yield from _given(recipe, ("hidden", "init", "bias"), "--architecture mlp or convnet", recipe.architecture)
    if recipe.optimiser == "lbfgs":
        yield from _given(recipe, ("learning_rate",), "another --optimiser", "lbfgs")
    if recipe.optimiser in ("lbfgs", "gd"):
        yield from _given(recipe, ("schedule",), "--optimiser sgd, adam or adamw", recipe.optimiser)
    if not recipe.dp_noise:
        yield from _given(recipe, ("dp_clip",), "--dp-noise", "none")


def _given(recipe: Recipe, names: tuple[str, ...], expected: str, found: str) -> Iterator[str]:
    for name in names:
        if getattr(recipe, name) != Recipe.model_fields[name].default:
            yield f"expected {expected} beside --{name.replace('_', '-')}, found {found}, for which it means nothing"


def checked_recipe(values: Mapping[str, object], origin: str) -> Recipe:
    """A recipe from values by field name.

    Args:
        values: those that are given.
        origin: where they come from, for messages: `command line`, or a file and a table in it.

    Raises:
        ConfigError: an unknown name, a value of the wrong kind, a contradiction.
    """
    try:
        return Recipe.model_validate(dict(values))
    except ValidationError as error:
        first: Any = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"expected a setting of training in {origin}, found {name!r}; `privaudit train --help` lists them"
            ) from None
        raise ConfigError(f"expected {first['msg'].lower()} for {name} in {origin}, found {first['input']!r}") from None
    except ConfigError as error:
        raise ConfigError(f"{error} ({origin})") from None
