"""Does the attack, on this machine, catch a network that leaks and clear one that cannot?

In: nothing but the package and a cache folder. Out: `Instrument`. Both networks pass through the stages of a scan
(`privaudit.assessment`) in memory. Must not know what is being scanned.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from privaudit.adapters import build_target, resolve_input_options
from privaudit.adapters.interface import Preprocessing
from privaudit.assessment import assess
from privaudit.checkpoint import Checkpoint
from privaudit.config import ScanSettings
from privaudit.data import ImageSet
from privaudit.errors import OutputError
from privaudit.held_images import HeldImages
from privaudit.loading import Loaded
from privaudit.planted import Planted, one_thread, plant
from privaudit.progress import ProgressListener, SilentListener
from privaudit.result import Finding, Instrument
from privaudit.result_file import write_private

Status = Literal["passed", "failed", "not_run"]
_NOT_RUN = Instrument(positive_control="not_run", negative_control="not_run")
_SETTINGS = ScanSettings(model=Path("positive control"), budget="quick", restarts=4)


@dataclass(frozen=True)
class ControlCheck:
    """One control.

    Attributes:
        status: `not_run` when interrupted.
        detail: what was found, in one sentence.
    """

    status: Status
    detail: str


_INTERRUPTED = ControlCheck("not_run", "Interrupted.")


@dataclass(frozen=True)
class InstrumentCheck:
    """Both controls: `positive` must be caught, `negative` must not; `seconds` both took."""

    positive: ControlCheck
    negative: ControlCheck
    seconds: float = 0.0

    @property
    def instrument(self) -> Instrument:
        """As a result stores it."""
        checks = (("Positive", self.positive), ("Negative", self.negative))
        failed = (f"{name} control: {check.detail}" for name, check in checks if check.status == "failed")
        return Instrument(
            positive_control=self.positive.status,
            negative_control=self.negative.status,
            seconds=round(self.seconds, 2),
            reason=" ".join(failed),
        )


SKIPPED = Instrument(positive_control="not_run", negative_control="not_run", reason="--no-instrument-check was given.")
"""Such a scan can find a leak and never clears a model."""


def check_instrument(listener: ProgressListener, device: torch.device | None = None) -> Instrument:
    """Run both controls; see `run_controls`."""
    return run_controls(listener, device).instrument


def run_controls(listener: ProgressListener, device: torch.device | None = None) -> InstrumentCheck:
    """Audit a network known to leak, the same one untrained, and the first against pictures it never saw.

    The positive control passes when images are rebuilt and membership is readable; the negative one when neither
    finding is made on the untrained network, nor on pictures that the trained one never saw.

    Args:
        listener: told about the stage and failures.
        device: where to compute; None: the CPU.
    """
    listener.stage("instrument", "checking the attack on a network that leaks and on an untrained one")
    begun = time.monotonic()
    planted = positive_recipe()
    device = device or torch.device("cpu")
    try:
        leaky = positive_tensors(planted, listener)
    except KeyboardInterrupt:
        return InstrumentCheck(_INTERRUPTED, _INTERRUPTED)
    positive = _check(leaky, planted, device, _is_caught)
    untrained = stranger = _INTERRUPTED
    if positive.status != "not_run":
        untrained = _check(planted.untrained(), planted, device, _is_clear)
    if untrained.status != "not_run":
        stranger = _check(leaky, planted.strangers(), device, _is_clear)
    check = InstrumentCheck(positive, _both(untrained, stranger), time.monotonic() - begun)
    for name, control in (("positive", check.positive), ("negative", check.negative)):
        if control.status != "passed":
            listener.note(f"{name} control of the instrument {control.status.replace('_', ' ')}: {control.detail}")
    return check


def positive_recipe() -> Planted:
    """The network that leaks: small enough for seconds, and with twice the leaks that are needed to be caught."""
    return plant(n_members=12, width=300, weight_decay=1e-2, max_steps=100)


def _is_caught(findings: tuple[Finding, ...]) -> bool:
    return all(finding.status == "found" for finding in findings)


def _is_clear(findings: tuple[Finding, ...]) -> bool:
    return not any(finding.status == "found" for finding in findings)


def _check(
    tensors: dict[str, Tensor],
    planted: Planted,
    device: torch.device,
    is_expected: Callable[[tuple[Finding, ...]], bool],
) -> ControlCheck:
    """One audit, judged."""
    try:
        with one_thread():
            assessed = assess(_loaded(tensors, planted, device), _SETTINGS, SilentListener())
    except KeyboardInterrupt:
        return _INTERRUPTED
    if assessed.attack.interrupted:
        return _INTERRUPTED
    findings = assessed.verdict(_SETTINGS, _NOT_RUN).findings
    told = "; ".join(f"{finding.name} {finding.status.replace('_', ' ')}: {finding.reason}" for finding in findings)
    return ControlCheck("passed" if is_expected(findings) else "failed", told)


def _both(untrained: ControlCheck, stranger: ControlCheck) -> ControlCheck:
    """The worse of two statuses."""
    statuses = (untrained.status, stranger.status)
    status: Status = "failed" if "failed" in statuses else "not_run" if "not_run" in statuses else "passed"
    return ControlCheck(
        status, f"Untrained: {untrained.detail} Trained, against pictures it never saw: {stranger.detail}"
    )


def _loaded(tensors: dict[str, Tensor], planted: Planted, device: torch.device) -> Loaded:
    checkpoint = Checkpoint(_SETTINGS.model, tensors, "", "safetensors", planted.metadata)
    target = build_target(checkpoint, "auto", resolve_input_options(checkpoint))
    target.module.to(device)
    mean = torch.from_numpy(planted.mean)[None]
    preprocessing = Preprocessing(mean, torch.ones_like(mean), "mean image of the members")
    members, controls = (
        ImageSet(torch.from_numpy(x)[:, None].float() / 255, None, tuple(map(str, range(len(x)))), "lfw_subset")
        for x in (planted.members, planted.controls)
    )
    return Loaded(checkpoint, target, HeldImages(members, controls), preprocessing, device)


def cache_folder() -> Path | None:
    """`PRIVAUDIT_CACHE`, else `~/.cache/privaudit`; None where there is no home."""
    named = os.environ.get("PRIVAUDIT_CACHE")
    try:
        return Path(named).expanduser() if named else Path.home() / ".cache" / "privaudit"
    except RuntimeError:
        return None


def positive_tensors(planted: Planted, listener: ProgressListener) -> dict[str, Tensor]:
    """Weights of the positive control: from the cache, or trained and cached.

    The file carries its recipe in its name and its sha256 beside it, so that a damaged or outdated one is not used. A
    cache that cannot be read or written costs the seconds of training and nothing else.
    """
    folder = cache_folder()
    recipe = hashlib.sha256(repr((sorted(asdict(planted.settings).items()), planted.metadata)).encode())
    recipe.update(planted.members.tobytes())
    file = None if folder is None else folder / f"positive-control-{recipe.hexdigest()[:16]}.safetensors"
    cached = None if file is None else _read_cached(file)
    if cached is not None:
        return cached
    listener.note("training the positive control once, some seconds")
    tensors = planted.trained().tensors
    if file is not None:
        _write_cached(file, tensors, planted.metadata)
    return tensors


def _read_cached(file: Path) -> dict[str, Tensor] | None:
    try:
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != _digest_file(file).read_text(encoding="ascii").strip():
            return None
        return load(data)
    except (OSError, ValueError, SafetensorError):
        return None


def _write_cached(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    data = save(tensors, metadata=metadata)
    try:
        write_private(file, data)
        write_private(_digest_file(file), f"{hashlib.sha256(data).hexdigest()}\n".encode())
    except OutputError:
        return


def _digest_file(file: Path) -> Path:
    return file.with_suffix(".sha256")
