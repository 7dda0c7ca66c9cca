"""`privaudit train`: a target network from options or a file of settings."""

import inspect
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privaudit.cli.console import emit, emit_json, say, stdout_for_results_only
from privaudit.cli.options import AsJson, NoProgress, Quiet, Verbose
from privaudit.errors import ConfigError

if TYPE_CHECKING:
    from privaudit.study.interface import TrainedTarget
    from privaudit.study.recipe import Recipe

_OPTIONS: Mapping[str, tuple[str, str]] = {
    "data": ("SOURCE", "faces, digits, a folder of class folders, .npz or torchvision:NAME. Default: faces."),
    "classes": ("N", "How many classes, the first ones. Default: all."),
    "images_per_class": ("N", "Training images of each class. Default: half of the smallest class."),
    "controls": ("N", "Images held out as controls at most. Default: 500."),
    "labels": ("classes|two_groups|regression", "What is learnt: classes, ±1 for two groups, or a number."),
    "positive": ("N[,N…]", "Classes of the group +1. Default: the upper half."),
    "label_noise": ("SHARE", "Share of training images with a label of another class. Default: 0."),
    "architecture": ("mlp|convnet|FILE.py:FUNCTION", "Network; a file is run. Default: mlp."),
    "hidden": ("N[,N…]", "Widths of the hidden layers. Default: 1000,1000."),
    "channels": ("N[,N…]", "Channels of the convolutions. Default: 32."),
    "kernel": ("N", "Side of the convolutions in pixels. Default: 3."),
    "stride": ("N", "Stride of the convolutions. Default: 1."),
    "pool": ("none|max2|avg2", "What follows each convolution. Default: none."),
    "loss": (
        "NAME",
        "cross_entropy, logistic, mse, huber, power:P, or FILE.py:FUNCTION, which is run. Default: cross_entropy.",
    ),
    "weight_decay": ("RATE", "λ of loss + λ/2 ‖θ‖². Default: 0.001."),
    "init": ("default|small", "First layer: PyTorch's default or N(0,1)·1e-4."),
    "bias": ("first|all", "Bias in the first layer only or in all. Default: first."),
    "optimiser": ("NAME", "lbfgs and gd (all images at once), sgd, adam or adamw. Default: lbfgs."),
    "learning_rate": ("RATE", "Where gd starts, what the others keep. Default: by the optimiser."),
    "schedule": ("constant|cosine", "Of the learning rate. Default: constant."),
    "momentum": ("SHARE", "Of gd and sgd. Default: 0."),
    "batch_size": ("N", "Images a step. Default: all."),
    "epochs": ("N", "Passes over the data at most; of lbfgs, steps, 20 at a time. Default: 2000."),
    "tolerance": ("RESIDUAL", "Stationarity residual that is enough, with weight decay; 0: go on. Default: 0.1."),
    "stop_loss": ("LOSS", "Mean loss that is enough; 0: go on. Default: 1e-6 without weight decay, else 0."),
    "early_stopping": (
        "EPOCHS",
        "End after so many without a better held-out score, keep the best. Default: 0, never.",
    ),
    "augmentation": ("none|flip|flip_shift", "Of every batch at random. Default: none."),
    "dp_noise": ("MULTIPLIER", "Noise of DP-SGD (Opacus); 0: none. Default: 0."),
    "dp_clip": ("NORM", "To which DP-SGD clips an image's gradient. Default: 1."),
    "seed": ("N", "Of initial weights, batches and noise. Default: 0."),
    "data_seed": ("N", "Of the choice of images. Default: 0."),
}


def _with_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for every field of `Recipe`; values are checked by the recipe, so that a file is checked alike."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
    leading = [parameter for parameter in own if parameter.kind is not parameter.KEYWORD_ONLY]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(metavar=metavar, help=text)],
        )
        for name, (metavar, text) in _OPTIONS.items()
    ]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*leading, *options, *own[len(leading) :]]
    )
    return command


@_with_recipe_options
def train(
    settings_file: Annotated[
        Path | None, typer.Argument(metavar="[SETTINGS.toml]", help="Settings by name; options come before it.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = Path("target"),
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with an interrupted training in the same --out.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, cuda:0 …")] = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_progress: NoProgress = False,
    **settings: object,
) -> None:
    """Train a network to audit.

    Writes the checkpoint, its mean image, the images it was trained on with controls, and settings, so that
    `privaudit scan DIR/model.safetensors` needs no options. Prints the path of the checkpoint to stdout, or with --json
    how training ended.
    """
    from privaudit.cli.output import sole_use
    from privaudit.cli.progress import listener_for

    recipe = _recipe(settings_file, settings)
    is_quiet = quiet or as_json
    for source in () if is_quiet else recipe.code:
        say(f"running code from {source}")
    with sole_use(out), stdout_for_results_only(), listener_for(is_quiet, verbose, no_progress) as listener:
        from privaudit.study.train import STATE_FILE, train_target

        try:
            trained = train_target(recipe, out, listener, resume=resume, device=device)
        except KeyboardInterrupt:
            if (out / STATE_FILE).is_file():
                listener.note(f"what was trained is kept in {out}; the same command with --resume goes on")
            raise
    if as_json:
        emit_json(trained.summary.model_dump_json(indent=1))
        return
    if not is_quiet:
        _summary(recipe, trained)
    emit(str(trained.model))


def _recipe(file: Path | None, options: Mapping[str, object]) -> "Recipe":
    """Options before the file.

    Raises:
        ConfigError: an unreadable file, an unknown name, a value of the wrong kind, a contradiction.
    """
    from privaudit.study.recipe import absolute, checked_recipe

    stored: dict[str, Any] = {}
    if file is not None:
        try:
            stored = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"expected TOML in {file}, found: {error}; correct the file") from None
    # Checked alone first, so that a message names the place to correct.
    checked_recipe(stored, str(file))
    given = {name: value for name, value in options.items() if value is not None}
    anchored = {name: absolute(name, value, file.parent) for name, value in stored.items()} if file else {}
    return checked_recipe({**anchored, **given}, "command line" if given or not file else str(file))


def _summary(recipe: "Recipe", trained: "TrainedTarget") -> None:
    """What was trained, how it ended, what to do next."""
    summary = trained.summary
    ended = {
        "stationary": "stationary",
        "loss_reached": f"loss of {recipe.enough[1]:g} reached",
        "stopped_early": "stopped early, best weights kept",
        "no_descent_left": "no step lowers the loss any more",
        "epochs_used_up": "epochs used up",
    }[summary.status]
    say(
        f"trained {summary.parameters:,} parameters on {summary.images} images in {summary.seconds:.0f} s: {ended} "
        f"after {summary.epochs} {'steps' if recipe.optimiser == 'lbfgs' else 'epochs'}"
    )
    said = [f"loss {summary.loss:.3g}", f"stationarity residual {summary.residual:.2g}"]
    if summary.accuracy is not None:
        said.append(f"accuracy {summary.accuracy:.0%} on them")
    if summary.held_out_accuracy is not None:
        said.append(f"{summary.held_out_accuracy:.1%} on {summary.held_out} others")
    if summary.epsilon is not None:
        said.append(f"ε = {summary.epsilon:.2f} at δ = {summary.delta:.1g}")
    say("  " + ", ".join(said))
    adapter = ["--adapter", recipe.architecture] if recipe.architecture in recipe.code else []
    say(f"next: {shlex.join(['privaudit', 'scan', str(trained.model), *adapter])}")
