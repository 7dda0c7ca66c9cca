"""The network and the loss that a recipe names, and what a checkpoint says of them.

In: a recipe, the shape of the inputs, the number of outputs. Must not know images or files, but for the user's own code
that a recipe names.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from privaudit.adapters.factory import user_function
from privaudit.errors import ConfigError
from privaudit.memory import available_memory
from privaudit.networks import ReluMlp
from privaudit.study.recipe import Recipe, runs_code
from privaudit.text import one_line
from privaudit.training.problem import LossFunction

Shape = tuple[int, int, int]
MID_GREY = 0.5  # what DP-SGD subtracts instead of the mean image
_COPIES = 3  # weights, gradients and what the least of optimisers keeps
_SMALL = 1e-4  # standard deviation of the small first layer, Haim et al. 2022


def build_network(recipe: Recipe, shape: Shape, n_outputs: int) -> nn.Module:
    """The network before training, its weights from `recipe.seed` alone.

    Args:
        recipe: `architecture` and what goes with it, `init`, `bias`, `seed`.
        shape: (C, H, W) of the inputs.
        n_outputs: K.

    Raises:
        ConfigError: convolutions larger than what they see, a network larger than the memory, or a factory that fails
            or gives other outputs.
    """
    if runs_code(recipe.architecture):
        return _users_network(recipe, shape, n_outputs)
    with torch.device("meta"):  # takes no memory
        planned = _own_network(recipe, shape, n_outputs)
    n_bytes = _COPIES * sum(p.numel() * p.element_size() for p in planned.parameters())
    free = available_memory()
    if free is not None and n_bytes > free:
        raise ConfigError(
            f"expected a network that fits in memory with gradients, {free / 2**30:.1f} GiB, found one that takes "
            f"{n_bytes / 2**30:.1f} GiB; lower --hidden or --channels"
        )
    module = _own_network(recipe, shape, n_outputs)
    _initialise(module, recipe)
    return module


def _own_network(recipe: Recipe, shape: Shape, n_outputs: int) -> nn.Module:
    if recipe.architecture == "convnet":
        return nn.Sequential(OrderedDict(_convnet(recipe, shape, n_outputs)))
    widths = (shape[0] * shape[1] * shape[2], *recipe.hidden, n_outputs)
    return ReluMlp(_linear(widths, recipe.bias, is_first=True))


def _linear(widths: tuple[int, ...], bias: str, *, is_first: bool) -> Iterator[nn.Linear]:
    for index, (n_in, n_out) in enumerate(pairwise(widths)):
        yield nn.Linear(n_in, n_out, bias=bias == "all" or (is_first and index == 0))


def _convnet(recipe: Recipe, shape: Shape, n_outputs: int) -> Iterator[tuple[str, nn.Module]]:
    """Layers by name, as `conv1`, `fc1`."""
    n_in, *side = shape
    for index, n_out in enumerate(recipe.channels, start=1):
        side = [(length - recipe.kernel) // recipe.stride + 1 for length in side]
        side = [length // 2 for length in side] if recipe.pool != "none" else side
        if min(side) < 1:
            raise ConfigError(
                f"expected convolutions that fit {shape[1]}x{shape[2]} inputs, found nothing left behind the "
                f"{index}. of {len(recipe.channels)}; lower --kernel or --stride or the number of --channels"
            )
        has_bias = recipe.bias == "all" or index == 1
        yield f"conv{index}", nn.Conv2d(n_in, n_out, recipe.kernel, recipe.stride, bias=has_bias)
        yield f"relu{index}", nn.ReLU()
        if recipe.pool != "none":
            yield f"pool{index}", nn.MaxPool2d(2) if recipe.pool == "max2" else nn.AvgPool2d(2)
        n_in = n_out
    yield "flatten", nn.Flatten()
    widths = (n_in * side[0] * side[1], *recipe.hidden, n_outputs)
    for index, layer in enumerate(_linear(widths, recipe.bias, is_first=False), start=1):
        if index > 1:
            yield f"relu_fc{index - 1}", nn.ReLU()
        yield f"fc{index}", layer


def _initialise(module: nn.Module, recipe: Recipe) -> None:
    """PyTorch's default, uniform in `±1/√(fan in)`, or a first layer of N(0, 1)·1e-4, from the seed alone."""
    generator = torch.Generator().manual_seed(recipe.seed)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for index, layer in enumerate(layers):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                if recipe.init == "small" and index == 0:
                    parameter.normal_(generator=generator).mul_(_SMALL)
                else:
                    parameter.uniform_(-bound, bound, generator=generator)


def _users_network(recipe: Recipe, shape: Shape, n_outputs: int) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module = user_function(recipe.architecture)()
        if not isinstance(module, nn.Module):
            raise TypeError(f"{type(module).__name__} instead of a torch.nn.Module")
        with torch.no_grad():
            found = tuple(module.float().eval()(torch.zeros(2, *shape)).shape)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"expected a network from {recipe.architecture} that takes (N, {', '.join(map(str, shape))}), found: "
            f"{one_line(error, 120)}; correct the function"
        ) from None
    if found != (2, n_outputs):
        raise ConfigError(
            f"expected {n_outputs} outputs for these labels from {recipe.architecture}, found (N, "
            f"{', '.join(map(str, found[1:]))}); change its last layer or --labels"
        )
    return module


def loss_function(recipe: Recipe) -> LossFunction:
    """Outputs (N, K) and targets (N,) to the mean loss.

    Raises:
        ConfigError: a user's function that cannot be loaded.
    """
    if runs_code(recipe.loss):
        return _users_loss(recipe.loss)
    # In double precision from the outputs on: float32 cannot tell losses below 1e-7 from one another, and descent
    # would have nowhere to go.
    if recipe.loss == "cross_entropy":
        return lambda outputs, targets: nn.functional.cross_entropy(outputs.double(), targets)
    if recipe.loss == "logistic":
        return lambda outputs, targets: nn.functional.softplus(-targets * outputs[:, 0].double()).mean()
    if recipe.loss == "mse":
        return lambda outputs, targets: nn.functional.mse_loss(outputs[:, 0], targets)
    if recipe.loss == "huber":
        return lambda outputs, targets: nn.functional.huber_loss(outputs[:, 0], targets)
    power = recipe.power
    return lambda outputs, targets: (outputs[:, 0] - targets).abs().pow(power).mean()


def _users_loss(source: str) -> LossFunction:
    try:
        function = user_function(source)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"expected a function at {source}, found: {one_line(error, 120)}; correct it") from None

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        try:
            value = function(outputs, targets)
        except Exception as error:
            raise ConfigError(
                f"expected a mean loss of outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} from "
                f"{source}, found: {type(error).__name__}: {one_line(error, 120)}; correct the function"
            ) from None
        if not isinstance(value, Tensor) or value.ndim or value.requires_grad < outputs.requires_grad:
            raise ConfigError(f"expected one differentiable number from {source}, found {one_line(value, 60)}")
        return value

    return loss


def is_right(recipe: Recipe, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """(N,) whether each output is on the right side; None where there are no sides."""
    if recipe.labels == "regression":
        return None
    if outputs.shape[1] > 1:
        return outputs.argmax(1) == targets
    return outputs[:, 0].sign() == targets


def metadata(recipe: Recipe, shape: Shape, n_outputs: int, n_images: int) -> dict[str, str]:
    """What the safetensors header says: everything a scan asks for, and no path."""
    is_own = runs_code(recipe.architecture)
    said = {
        "architecture": "a user's factory" if is_own else recipe.architecture,
        "input_shape": ",".join(map(str, shape)),
        "outputs": str(n_outputs),
        "loss": _loss_in_words(recipe),
        "weight_decay": f"{recipe.weight_decay:g}",
        "trained_samples": str(n_images),
        "preprocessing": "pixels/255 minus the mean image of the training set",
        "optimizer": recipe.optimiser,
        "seed": str(recipe.seed),
    }
    if not is_own:
        said |= {
            "hidden": ",".join(map(str, recipe.hidden)),
            "activation": "relu",
            "bias": "first layer only" if recipe.bias == "first" else "all layers",
            "init": "PyTorch default"
            if recipe.init == "default"
            else "first layer N(0,1)*1e-4, others PyTorch default",
        }
    if recipe.architecture == "convnet":
        said |= {"channels": ",".join(map(str, recipe.channels)), "stride": str(recipe.stride), "padding": "none"}
        said["pool"] = recipe.pool
    if recipe.dp_noise:
        said |= {"preprocessing": f"pixels/255 minus {MID_GREY}", "mean": str(MID_GREY)}
        del said["seed"]  # whoever knows it can draw the noise again
    told: dict[str, object] = {
        "batch_size": recipe.batch_size,
        "label_noise": recipe.label_noise,
        "dp_noise": recipe.dp_noise,
    }
    told["augmentation"] = None if recipe.augmentation == "none" else recipe.augmentation
    return said | {name: str(value) for name, value in told.items() if value}


def _loss_in_words(recipe: Recipe) -> str:
    name = "a user's function" if runs_code(recipe.loss) else recipe.loss
    if recipe.loss.startswith("power:"):
        name = f"|output - target|^{recipe.power:g}"
    sides = " on labels -1 and +1" if recipe.labels == "two_groups" and recipe.loss != "cross_entropy" else ""
    return f"{name} (mean){sides}"
