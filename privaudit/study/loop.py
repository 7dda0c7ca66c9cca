"""The loop of training: looks, reasons to stop, a state on disk from which it goes on after a kill.

In: a problem, a stepper, limits. Out: how it ended. Must know neither where images come from nor what is written at the
end.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from privaudit.errors import OutputError, PrivauditError
from privaudit.progress import ProgressListener, TrialProgress
from privaudit.training.problem import TrainingProblem
from privaudit.training.steppers import AbstractStepper

_SECONDS_BETWEEN_SAVES = 30.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOKS, _LONGEST_PAUSE = 100, 50  # looks in all, unless they would lie more epochs apart than that


@dataclass(frozen=True)
class Limits:
    """When training ends.

    Attributes:
        epochs: at most.
        tolerance: stationarity residual that is enough; `stop_loss` mean loss that is enough; 0: never.
        patience: epochs without a better held-out score after which it ends with the best weights; 0: never.
    """

    epochs: int
    tolerance: float
    stop_loss: float
    patience: int


@dataclass(frozen=True)
class Look:
    """The network after some epochs, as one line of the log.

    Attributes:
        epoch: passes over the data.
        loss: mean over the training images, without the decay; `accuracy` on them, or None.
        residual: stationarity.
        held_out_score: accuracy, or for regression minus the loss, on held-out images; None where it was not asked for.
        seconds: of training, interruptions left out.
    """

    epoch: int
    loss: float
    accuracy: float | None
    residual: float
    held_out_score: float | None
    seconds: float


@dataclass
class Run:
    """Training under way, and everything that a later process needs to go on.

    Attributes:
        problem: what is minimised; `stepper` by what.
        limits: when it ends.
        accuracy: share of the training images on the right side, or None.
        score: of held-out images, higher is better; asked for where `limits.patience` is set.
        state_file: where the state is kept meanwhile; `mark` what it depends on.
        seed: of what the network itself draws, as dropout does; every stretch between looks has a stream of its own.
        on_look: told about every look.
    """

    problem: TrainingProblem
    stepper: AbstractStepper
    limits: Limits
    accuracy: Callable[[], float | None]
    score: Callable[[], float | None]
    state_file: Path
    mark: str
    seed: int
    on_look: Callable[[Look], None]
    epoch: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_score: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def resume(self) -> bool:
        """Go on where an earlier process left off; whether there was one with the same settings.

        Raises:
            PrivauditError: a damaged state.
        """
        if not self.state_file.is_file():
            return False
        try:
            saved: Mapping[str, Any] = torch.load(
                self.state_file, weights_only=True, map_location=self.problem.inputs.device
            )
            if saved["mark"] != self.mark:
                return False
            self.problem.module.load_state_dict(saved["module"])
            self.stepper.restore(saved["stepper"])
            self.epoch, self.seconds = int(saved["epoch"]), float(saved["seconds"])
            self.best_epoch, self.best_score = int(saved["best_epoch"]), float(saved["best_score"])
            self.best = dict(saved["best"])
        except Exception as error:
            raise PrivauditError(
                f"expected the state of an interrupted training in {self.state_file}, found it damaged "
                f"({type(error).__name__}); start again without --resume"
            ) from None
        return True

    def save(self) -> None:
        """Keep the state, whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        temporary = self.state_file.with_name(f".{self.state_file.name}.part")
        state = {
            "mark": self.mark,
            "module": self.problem.module.state_dict(),
            "stepper": self.stepper.state(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best": self.best,
        }
        try:
            temporary.touch(mode=0o600)
            torch.save(state, temporary)
            temporary.replace(self.state_file)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"expected to keep the state in {self.state_file.parent}, found: {error}") from None

    def go(self) -> tuple[str, Look]:
        """Train to the end; how it ended, and the last look.

        Raises:
            PrivauditError: the loss is no longer a number.
            KeyboardInterrupt: after the state has been kept. A signal waits for the next look: between looks weights
                and optimiser do not belong together, and what goes on from there would end elsewhere.
        """
        look_every = max(1, min(self.limits.epochs // _LOOKS, _LONGEST_PAUSE), self.stepper.n_epochs)
        begun, saved = time.monotonic() - self.seconds, time.monotonic()
        with _deferred_signals() as asked:
            # What was resumed may have been at its end.
            look = self._look(is_new=False)
            status = self._status(look, can_go_on=True) if self.epoch else ""
            while not status:
                can_go_on = self._advance(look_every)
                self.seconds = time.monotonic() - begun
                try:
                    look = self._look()
                except KeyboardInterrupt:
                    self.save()
                    raise
                status = self._status(look, can_go_on)
                if asked and not status:
                    self.save()
                    raise KeyboardInterrupt
                if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                    self.save()
                    saved = time.monotonic()
        return status, self._at_best(look)

    def _advance(self, look_every: int) -> bool:
        """Go on to the next look; whether there was anywhere to go."""
        target = min((self.epoch // look_every + 1) * look_every, self.limits.epochs)
        can_go_on = True
        with torch.random.fork_rng():
            torch.manual_seed((self.seed * 1_000_003 + self.epoch) % (2**63))
            while self.epoch < target and can_go_on:
                can_go_on = self.stepper.advance(self.epoch)
                self.epoch += self.stepper.n_epochs
        return can_go_on

    def _look(self, is_new: bool = True) -> Look:
        # Batch normalisation must not learn from a look, nor dropout make its gradient random.
        self.problem.module.eval()
        loss, residual = self.problem.look()
        self.problem.module.train()
        if not (math.isfinite(loss) and math.isfinite(residual)):
            raise PrivauditError(
                f"expected loss and gradient to stay numbers, found {loss:.3g} and {residual:.3g} after "
                f"{self.epoch} epochs; lower --learning-rate, --weight-decay or the power of the loss"
            )
        with evaluation(self.problem.module):
            score = self.score() if self.limits.patience else None
            look = Look(self.epoch, loss, self.accuracy(), residual, score, self.seconds)
        if score is not None and score > self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best = {name: value.detach().clone() for name, value in self.problem.module.state_dict().items()}
        if is_new:
            self.on_look(look)
        return look

    def _status(self, look: Look, can_go_on: bool) -> str:
        """Why training ends here; empty where it goes on."""
        if self.limits.tolerance and look.residual <= self.limits.tolerance:
            return "stationary"
        if self.limits.stop_loss and look.loss <= self.limits.stop_loss:
            return "loss_reached"
        if self.limits.patience and self.epoch - self.best_epoch >= self.limits.patience:
            return "stopped_early"
        if not can_go_on:
            return "no_descent_left"
        return "epochs_used_up" if self.epoch >= self.limits.epochs else ""

    def _at_best(self, look: Look) -> Look:
        """Where early stopping is on, the weights with the best held-out score are the ones that are kept."""
        if not self.best or self.best_epoch == look.epoch:
            return look
        self.problem.module.load_state_dict(self.best)
        loss, residual = self.problem.look()
        with evaluation(self.problem.module):
            return Look(self.best_epoch, loss, self.accuracy(), residual, self.best_score, self.seconds)


@contextmanager
def _deferred_signals() -> Iterator[list[int]]:
    """Ctrl-C and a scheduler's SIGTERM are noted in what this gives, and nothing else happens; main thread only."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, without gradients."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def told(listener: ProgressListener, limits: Limits) -> Callable[[Look], None]:
    """Progress for a listener, as the share of the epochs; where training ends earlier, that is known only then."""

    def tell(look: Look) -> None:
        share = min(look.epoch / limits.epochs, 1.0)
        left = look.seconds * (1 - share) / share if share else math.inf
        listener.trial(TrialProgress("train", share, look.loss, 0, 0, left))

    return tell
