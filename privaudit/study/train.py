"""A target network from a recipe to files, ready for a scan.

In: a `Recipe`, a folder. Out: the checkpoint with metadata that carry everything a scan needs, its mean image, the
images it was trained on and controls, settings for `privaudit scan`, a log. Must not know scans.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from privaudit import __version__
from privaudit.errors import OutputError
from privaudit.loading import choose_device
from privaudit.progress import ProgressListener
from privaudit.result_file import write_private
from privaudit.study.images import Labelled, TrainingImages, choose_images
from privaudit.study.interface import (
    IMAGES_FILE,
    LOG_FILE,
    MODEL_FILE,
    SUMMARY_FILE,
    TrainedTarget,
    TrainingSummary,
)  # fmt: skip
from privaudit.study.loop import Limits, Look, Run, evaluation, told
from privaudit.study.optimisers import choose_stepper
from privaudit.study.recipe import Recipe
from privaudit.study.targets import MID_GREY, build_network, is_right, loss_function
from privaudit.study.written import write_target
from privaudit.training.private import PrivateSgd
from privaudit.training.problem import TrainingProblem
from privaudit.training.steppers import AbstractStepper

STATE_FILE = "training-state.pt"
_EVALUATED_AT_ONCE = 1000  # images


def train_target(
    recipe: Recipe, out: Path, listener: ProgressListener, *, resume: bool = False, device: str = "auto"
) -> TrainedTarget:
    """Train a network and write it.

    Writes to `out`, readable by the owner only: `model.safetensors`, `model.mean.npy`, `images.npz` (members and
    controls), `privaudit.toml` (so that `privaudit scan OUT/model.safetensors` needs no options), `train.toml` (so that
    `privaudit train OUT/train.toml` repeats it), `training.json` (the summary) and `training.jsonl` (the log).

    Args:
        recipe: what to train on what, and how.
        out: folder.
        listener: told about progress.
        resume: go on where an interrupted training with the same settings left off, or take what is finished. The end
            is the same, bit by bit, on the same machine.
        device: where to train: `auto` takes a GPU where there is one.

    Raises:
        PrivauditError: data or settings that cannot be used, a loss that is no longer a number.
        OutputError: `out` cannot be written.
        KeyboardInterrupt: after the state has been kept for `resume`.
    """
    listener.stage("load", f"images from {recipe.data}")
    place = choose_device(device)
    images = choose_images(recipe)
    fingerprint = _fingerprint(recipe, images)
    if resume and (finished := _finished(out, fingerprint)) is not None:
        listener.note(f"the training with these settings in {out} is finished")
        return finished
    # The mean image would tell of the training set what DP-SGD is meant not to.
    mean = _inputs(images.members.pixels, torch.zeros(1)).mean(0)
    mean = torch.full_like(mean, MID_GREY) if recipe.dp_noise else mean
    network = build_network(recipe, images.shape, images.n_outputs).to(place).train()
    problem = TrainingProblem(
        network,
        _inputs(images.members.pixels, mean).to(place),
        images.members.targets.to(place),
        loss_function(recipe),
        recipe.weight_decay,
    )
    n_parameters = sum(p.numel() for p in network.parameters())
    listener.stage(
        "train", f"{n_parameters:,} parameters on {len(images.members)} images, {images.n_controls} controls"
    )
    stepper = choose_stepper(recipe, problem)
    held_out = _Evaluator(recipe, network, images.held_out, mean)
    validation = _Evaluator(recipe, network, images.validation, mean)
    run = Run(
        problem=problem,
        stepper=stepper,
        limits=Limits(recipe.epochs, *recipe.enough, recipe.early_stopping),
        accuracy=lambda: _accuracy(is_right(recipe, network(problem.inputs), problem.targets)),
        score=validation.score,
        state_file=out / STATE_FILE,
        mark=fingerprint,
        seed=recipe.seed,
        on_look=lambda look: None,
    )
    _begin(run, recipe, out, listener, resume)
    status, look = run.go()
    summary = _summary(status, look, images, network, held_out, stepper).model_copy(update={"fingerprint": fingerprint})
    write_target(out, recipe, network, mean, images, summary)
    (out / STATE_FILE).unlink(missing_ok=True)
    return TrainedTarget(out / MODEL_FILE, out / IMAGES_FILE, summary)


def _summary(
    status: str,
    look: Look,
    images: TrainingImages,
    network: nn.Module,
    held_out: "_Evaluator",
    stepper: AbstractStepper,
) -> TrainingSummary:
    with evaluation(network):
        held_out_accuracy, held_out_loss = held_out.accuracy(), held_out.loss()
    delta = 1 / (10 * len(images.members))
    is_private = isinstance(stepper, PrivateSgd)
    return TrainingSummary(
        status=status,
        images=len(images.members),
        controls=images.n_controls,
        held_out=len(images.held_out),
        outputs=images.n_outputs,
        parameters=sum(p.numel() for p in network.parameters()),
        epochs=look.epoch,
        loss=look.loss,
        accuracy=look.accuracy,
        held_out_accuracy=held_out_accuracy,
        held_out_loss=held_out_loss,
        residual=look.residual,
        epsilon=stepper.epsilon(delta) if isinstance(stepper, PrivateSgd) else None,
        delta=delta if is_private else None,
        seconds=look.seconds,
    )


def _begin(run: Run, recipe: Recipe, out: Path, listener: ProgressListener, resume: bool) -> None:
    """Go on from a saved state or start anew, with a log that holds every look once."""
    if resume and not run.resume():
        listener.note(f"no interrupted training with these settings in {out}; starting from the beginning")
    log = out / LOG_FILE
    kept = [line for line in _lines(log) if json.loads(line)["epoch"] <= run.epoch] if run.epoch else []
    write_private(log, "".join(line + "\n" for line in kept).encode())
    tell = told(listener, run.limits)

    def on_look(look: Look) -> None:
        try:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(look), allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"expected to write {log}, found: {error.strerror}; choose another --out") from None
        tell(look)

    run.on_look = on_look


def _lines(log: Path) -> list[str]:
    """Whole lines of an earlier log; a kill may have cut the last one."""
    if not log.is_file():
        return []
    return [
        line.rstrip("\n") for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]


def _finished(out: Path, fingerprint: str) -> TrainedTarget | None:
    """What an earlier training with this fingerprint wrote, whole; the checkpoint is written last."""
    try:
        summary = TrainingSummary.model_validate_json((out / SUMMARY_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    is_whole = summary.fingerprint == fingerprint and (out / MODEL_FILE).is_file()
    return TrainedTarget(out / MODEL_FILE, out / IMAGES_FILE, summary) if is_whole else None


def _fingerprint(recipe: Recipe, images: TrainingImages) -> str:
    """What a state and an end depend on."""
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {recipe.model_dump_json()}".encode())
    for values in (images.members.pixels, images.members.targets):
        digest.update(values.numpy().tobytes())
    for source in recipe.code:
        digest.update(Path(source.rpartition(":")[0]).read_bytes())
    return digest.hexdigest()


def _inputs(pixels: Tensor, mean: Tensor) -> Tensor:
    """(N, C, H, W) uint8 to network inputs."""
    return pixels.float() / 255 - mean


def _accuracy(is_right_side: Tensor | None) -> float | None:
    return None if is_right_side is None or not len(is_right_side) else float(is_right_side.float().mean())


class _Evaluator:
    """Accuracy and loss on held-out images."""

    def __init__(self, recipe: Recipe, network: nn.Module, images: Labelled, mean: Tensor) -> None:
        self._recipe, self._network, self._images, self._mean = recipe, network, images, mean

    def _outputs(self) -> Tensor:
        parts = torch.split(self._images.pixels, _EVALUATED_AT_ONCE)
        place = next(self._network.parameters()).device
        return torch.cat([self._network(_inputs(part, self._mean).to(place)).cpu() for part in parts])

    def accuracy(self) -> float | None:
        """Share on the right side."""
        return _accuracy(is_right(self._recipe, self._outputs(), self._images.targets)) if len(self._images) else None

    def loss(self) -> float | None:
        """Mean loss; None where there are no images or it is not finite."""
        if not len(self._images):
            return None
        value = float(loss_function(self._recipe)(self._outputs(), self._images.targets))
        return value if np.isfinite(value) else None

    def score(self) -> float | None:
        """Higher is better: the accuracy, or for regression minus the loss."""
        accuracy = self.accuracy()
        if accuracy is not None:
            return accuracy
        loss = self.loss()
        return None if loss is None else -loss
