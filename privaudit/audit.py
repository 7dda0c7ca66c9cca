"""A whole scan, from settings to files: the only module that knows every stage."""

import hashlib
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from privaudit import __version__
from privaudit.assessment import assess
from privaudit.config import ScanSettings
from privaudit.instrument import SKIPPED, check_instrument
from privaudit.loading import Loaded, choose_device, load
from privaudit.matching import MatchTable
from privaudit.pictures_file import pictures_bytes
from privaudit.progress import ProgressListener
from privaudit.reconstructions import Reconstructions
from privaudit.result import AuditResult, Instrument, Layer, Model, Reproduce, Tool
from privaudit.result_file import sealed, to_json, write_private
from privaudit.trial_store import fingerprint, read_trials, save_trials

TRIALS_FILE = "trials.safetensors"
_ATTACK_SETTINGS = {
    "adapter",
    "task",
    "input_shape",
    "stride",
    "padding",
    "pool",
    "budget",
    "restarts",
    "candidates",
    "seed",
    "dtype",
    "std",
}
_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "safetensors")


@dataclass(frozen=True)
class ScanOutcome:
    """A finished scan and the files it wrote, `result.json` first."""

    result: AuditResult
    files: tuple[Path, ...]


def scan(settings: ScanSettings, listener: ProgressListener, command: str) -> ScanOutcome:
    """Audit a checkpoint and write the results.

    Args:
        settings: what to audit and how.
        listener: told about progress.
        command: the command line, for the report.

    Raises:
        PrivauditError: bad input (before anything is written), or an output folder that cannot be written.
    """
    started = datetime.now(UTC)
    loaded = load(settings, listener)
    store, mark = settings.out / TRIALS_FILE, _mark(loaded, settings)
    finished = read_trials(store, mark) if settings.resume else None
    if settings.resume and finished is None:
        listener.note(f"no interrupted scan in {settings.out}; starting from the beginning")
    assessed = assess(loaded, settings, listener, finished, lambda saved: save_trials(store, saved, mark))
    instrument = _instrument(settings, listener, assessed.attack.interrupted)
    result = sealed(
        AuditResult(
            tool=Tool(version=__version__),
            model=_model(loaded, settings),
            preflight=assessed.preflight,
            attack=assessed.attack,
            evidence=assessed.evidence,
            instrument=instrument,
            verdict=assessed.verdict(settings, instrument),
            reproduce=_reproduce(settings, command, started),
        )
    )
    listener.stage("report", f"writing to {settings.out}")
    files = _write(result, loaded, assessed.reconstructions, assessed.table, settings)
    if not assessed.attack.interrupted:
        store.unlink(missing_ok=True)  # everything in it is in the result now
    return ScanOutcome(result, files)


def _mark(loaded: Loaded, settings: ScanSettings) -> str:
    """What the attack's numbers depend on: an interrupted scan is continued only where all of it is equal."""
    mean = hashlib.sha256(loaded.knowledge.mean.contiguous().numpy().tobytes()).hexdigest()
    return fingerprint(
        __version__, loaded.checkpoint.sha256, str(loaded.device), mean, settings.model_dump(include=_ATTACK_SETTINGS)
    )


def _instrument(settings: ScanSettings, listener: ProgressListener, is_interrupted: bool) -> Instrument:
    if not settings.instrument_check:
        return SKIPPED
    if is_interrupted:
        return Instrument(positive_control="not_run", negative_control="not_run", reason="Interrupted.")
    return check_instrument(listener, choose_device(settings.device))


def _model(loaded: Loaded, settings: ScanSettings) -> Model:
    target, checkpoint = loaded.target, loaded.checkpoint
    return Model(
        path=str(settings.model),
        sha256=checkpoint.sha256,
        format=checkpoint.format,
        adapter=target.adapter,
        parameters=target.n_parameters,
        input_shape=target.input_shape,
        outputs=target.n_outputs,
        layers=tuple(Layer(name=x.name, kind=x.kind, shape=x.shape, has_bias=x.has_bias) for x in target.layers),
        metadata=checkpoint.metadata,
    )


def _reproduce(settings: ScanSettings, command: str, started: datetime) -> Reproduce:
    versions = {"python": platform.python_version(), "privaudit": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # installed some other way than as a distribution
            versions[package] = str(getattr(sys.modules.get(package), "__version__", "unknown"))
    return Reproduce(
        command=command,
        config=settings.model_dump(mode="json"),
        versions=versions,
        seeds=(settings.seed,),
        started=started.isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
    )


def _write(
    result: AuditResult,
    loaded: Loaded,
    found: Reconstructions,
    table: MatchTable | None,
    settings: ScanSettings,
) -> tuple[Path, ...]:
    from privaudit.report import write_reports  # matplotlib is loaded when there is something to draw

    pictures = settings.out / "reconstructions.safetensors"
    write_private(pictures, pictures_bytes(result, loaded, found, table))
    document = settings.out / "result.json"
    write_private(document, to_json(result).encode())
    return (document, pictures, *write_reports(document, settings.format, settings.reveal, settings.out))
