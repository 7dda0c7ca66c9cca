"""Finished work of an attack on disk, so that `--resume` goes on where an interrupted scan stopped.

A file is bound to one checkpoint and one set of attack settings by a fingerprint, and holds tensors and plain JSON.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from privaudit.attack_types import RunSummary
from privaudit.errors import ConfigError
from privaudit.reconstructions import Reconstructions
from privaudit.result_file import write_private

_TENSORS = ("pixels", "multipliers", "restart", "objective", "confidence", "found_after_s")


@dataclass(frozen=True)
class SavedTrials:
    """What is finished.

    Attributes:
        rounds: of the equation.
        is_equation_done: no further round will run; `agreed` then says whether its restarts were believed.
        start: (k, rank) coordinates and (k, K) multipliers that the next round starts from.
        best: (R, m, rank) coordinates and (R, m, K) multipliers of the last round's best restarts, for refinement.
        is_refined: refinement is finished.
        chunks: of the feature span.
        span_inputs: (n, C, H, W) its images as network inputs; `span_losses`: (n,).
        parts: what each objective hands on.
        runs: summaries of finished objectives.
        steps: of the equation, `restarts` likewise.
        seconds: of attack that this took.
    """

    rounds: int = 0
    is_equation_done: bool = False
    agreed: bool = False
    start: tuple[Tensor, Tensor] | None = None
    best: tuple[Tensor, Tensor] | None = None
    is_refined: bool = False
    chunks: int = 0
    span_inputs: Tensor | None = None
    span_losses: Tensor | None = None
    parts: dict[str, Reconstructions] = field(default_factory=dict)
    runs: tuple[RunSummary, ...] = ()
    steps: int = 0
    restarts: int = 0
    seconds: float = 0.0


def fingerprint(*values: object) -> str:
    """sha256 over the JSON of everything that the attack's numbers depend on."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def save_trials(path: Path, saved: SavedTrials, mark: str) -> None:
    """Write whole or not at all, readable by the owner only.

    Raises:
        OutputError: the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for index, part in enumerate(saved.parts.values()):
        tensors |= {f"{index}.{name}": getattr(part, name) for name in _TENSORS}
    if saved.start is not None:
        tensors["start.coordinates"], tensors["start.multipliers"] = saved.start
    if saved.best is not None:
        tensors["best.coordinates"], tensors["best.multipliers"] = saved.best
    if saved.span_inputs is not None and saved.span_losses is not None:
        tensors["span.inputs"], tensors["span.losses"] = saved.span_inputs, saved.span_losses
    state = {
        "rounds": saved.rounds,
        "is_equation_done": saved.is_equation_done,
        "agreed": saved.agreed,
        "is_refined": saved.is_refined,
        "chunks": saved.chunks,
        "steps": saved.steps,
        "restarts": saved.restarts,
        "seconds": saved.seconds,
    }
    metadata = {
        "fingerprint": mark,
        "state": json.dumps(state),
        "parts": json.dumps([[name, part.objectives] for name, part in saved.parts.items()]),
        "runs": json.dumps([asdict(run) for run in saved.runs]),
    }
    write_private(path, save({name: value.contiguous().cpu() for name, value in tensors.items()}, metadata))


def read_trials(path: Path, mark: str) -> SavedTrials | None:
    """What an earlier scan finished; None where there is no file.

    Raises:
        ConfigError: the file is damaged, or belongs to another checkpoint or other settings.
    """
    if not path.exists():
        return None
    remedy = "leave out --resume or choose another --out"
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("fingerprint") != mark:
            raise ConfigError(
                f"expected trials of this checkpoint and these settings in {path}, found others; {remedy}"
            )
        return _restored(metadata, tensors)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"expected the trials of an interrupted scan in {path}, found: {reason}; {remedy}") from None


def _restored(metadata: dict[str, str], tensors: dict[str, Tensor]) -> SavedTrials:
    parts = {}
    for index, (name, objectives) in enumerate(json.loads(metadata["parts"])):
        values = {field_name: tensors[f"{index}.{field_name}"] for field_name in _TENSORS}
        parts[name] = Reconstructions(**values, objectives=tuple(objectives))
    pairs = {
        name: (tensors[f"{name}.coordinates"], tensors[f"{name}.multipliers"])
        for name in ("start", "best")
        if f"{name}.coordinates" in tensors
    }
    return SavedTrials(
        **json.loads(metadata["state"]),
        start=pairs.get("start"),
        best=pairs.get("best"),
        span_inputs=tensors.get("span.inputs"),
        span_losses=tensors.get("span.losses"),
        parts=parts,
        runs=tuple(RunSummary(**run) for run in json.loads(metadata["runs"])),
    )


def joined(first: Tensor | None, second: Tensor) -> Tensor:
    """Both along the first dimension."""
    return second if first is None else torch.cat([first, second])
