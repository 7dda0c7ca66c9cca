"""`privaudit demo`: the main job on a network known to leak and on its untrained twin.

In: a folder. Out: both audits and everything they were made from, so that the same scans can be run by hand. Needs no
input and no network. The pictures are public and shipped with scikit-image, so the reports show them in the clear.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from privaudit.audit import ScanOutcome, scan
from privaudit.config import ScanSettings
from privaudit.planted import Planted, one_thread, plant
from privaudit.progress import ProgressListener
from privaudit.result_file import write_private


@dataclass(frozen=True)
class DemoOutcome:
    """Two scans whose verdicts are known beforehand: `leak_found` for the first, anything else for the second."""

    leaky: ScanOutcome
    untrained: ScanOutcome


def demo_recipe() -> Planted:
    """The network of the demo: trained in seconds, and few enough pictures to be rebuilt plainly."""
    return plant(n_members=16, width=300, weight_decay=1e-2, max_steps=100)


def run_demo(
    out: Path, listener: ProgressListener, time_limit_s: float | None, planted: Planted | None = None
) -> DemoOutcome:
    """Train a network until it leaks, and audit it and the same network untrained.

    Writes to `out`, readable by the owner only: `model.safetensors`, `untrained.safetensors`, the mean image that was
    subtracted beside each, `reference.npz`, `control.npz`, and one folder of reports a scan (`leaky`, `untrained`).

    Args:
        out: folder.
        listener: told about progress.
        time_limit_s: of each attack; None: from the size of the problem.
        planted: what to train; None: `demo_recipe()`.

    Raises:
        OutputError: `out` cannot be written.
    """
    planted = planted or demo_recipe()
    n_members, n_controls = len(planted.members), len(planted.controls)
    listener.stage("train", f"a {planted.metadata['architecture']} network on {n_members} public pictures")
    trained = planted.trained()
    listener.note(
        f"trained {trained.steps} steps: loss {trained.loss:.3g}, stationarity residual {trained.residual:.2g}"
    )
    listener.note(f"{n_controls} more pictures, which it never saw, are the controls; all are shown in the clear")
    _write_inputs(out, planted)
    _write_model(out / "model.safetensors", trained.tensors, planted)
    _write_model(out / "untrained.safetensors", planted.untrained(), planted)
    return DemoOutcome(
        leaky=_scan(out, "model.safetensors", "leaky", listener, time_limit_s),
        untrained=_scan(out, "untrained.safetensors", "untrained", listener, time_limit_s),
    )


def _scan(out: Path, model: str, name: str, listener: ProgressListener, time_limit_s: float | None) -> ScanOutcome:
    """An ordinary scan with ordinary settings; `reveal` because the pictures are public."""
    settings = ScanSettings(
        model=out / model,
        reference=str(out / "reference.npz"),
        control=str(out / "control.npz"),
        out=out / name,
        time_limit_s=time_limit_s,
        reveal=True,
    )
    given = f"--reference {settings.reference} --control {settings.control} --out {settings.out} --reveal"
    limit = "" if time_limit_s is None else f" --time-limit {time_limit_s:g}"
    with one_thread():
        return scan(settings, listener, f"privaudit scan {settings.model} {given}{limit}")


def _write_inputs(out: Path, planted: Planted) -> None:
    """Members are labelled with their class, each its own; controls have none."""
    members = _archive(images=planted.members, labels=planted.labels)
    write_private(out / "reference.npz", members)
    write_private(out / "control.npz", _archive(images=planted.controls))


def _write_model(file: Path, tensors: dict[str, Any], planted: Planted) -> None:
    write_private(file, save(tensors, metadata=planted.metadata))
    mean = io.BytesIO()
    np.save(mean, planted.mean)
    write_private(file.with_name(f"{file.stem}.mean.npy"), mean.getvalue())


def _archive(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()
