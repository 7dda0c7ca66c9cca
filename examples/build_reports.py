"""Two finished audits of networks that read digits: one gives its training images away, one does not.

python examples/build_reports.py [FOLDER]

Trains both on scikit-learn's digits (1,797 public pictures of 8x8 pixels; nobody is on them, so they are shown), audits
them with default options and writes `report.html`, `report.public.html` and `result.json` of each to FOLDER/leaking and
FOLDER/not-leaking. FOLDER is this one unless said. Takes one to five minutes on two cores.
"""

import contextlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from sklearn.datasets import load_digits

from privaudit.audit import scan
from privaudit.config import ScanSettings
from privaudit.progress import SilentListener
from privaudit.report import write_reports
from privaudit.training import TrainingSettings, train

N_CONTROLS = 1000
KEPT = ("result.json", "report.html", "report.public.html")


@dataclass(frozen=True)
class Example:
    """One network: how many images it sees, how wide it is, how long and with which decay it is trained."""

    name: str
    n_members: int
    width: int
    weight_decay: float
    max_steps: int
    allowance: int


EXAMPLES = (
    Example("leaking", n_members=30, width=300, weight_decay=1e-2, max_steps=300, allowance=0),
    Example("not-leaking", n_members=700, width=16, weight_decay=1e-3, max_steps=10, allowance=21),
)


def build(example: Example, folder: Path) -> str:
    """Train, audit, keep three files; returns the verdict."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) / 16 * 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(pixels))
    members, controls = order[: example.n_members], order[-N_CONTROLS:]
    mean = pixels[members].mean(0, dtype=np.float64).astype(np.float32) / 255
    inputs = torch.from_numpy(pixels[members] / 255 - mean).float()
    settings = TrainingSettings(
        (64, example.width, example.width, 10), "cross_entropy", example.weight_decay, example.max_steps
    )
    trained = train(inputs, torch.from_numpy(labels[members]), settings)
    metadata = {
        "architecture": "-".join(map(str, settings.widths)), "input_shape": "1,8,8", "activation": "relu",
        "loss": settings.loss, "weight_decay": str(settings.weight_decay),
        "preprocessing": "pixels minus the mean image of the training set",
    }  # fmt: skip
    target = folder.resolve() / example.name
    with (
        tempfile.TemporaryDirectory() as work,
        contextlib.chdir(work),
    ):  # so that results name no folder of this machine
        Path("digits.safetensors").write_bytes(save(trained.tensors, metadata=metadata))
        np.save("digits.mean.npy", mean)
        np.savez("train.npz", images=pixels[members], labels=labels[members])
        np.savez("heldout.npz", images=pixels[controls], labels=labels[controls])
        asked = ScanSettings(
            model=Path("digits.safetensors"), reference="train.npz", control="heldout.npz", out=Path("audit"),
            reveal=True, max_leaked=example.allowance, max_readable=example.allowance,
        )  # fmt: skip
        command = "privaudit scan digits.safetensors --reference train.npz --control heldout.npz --reveal"
        allowed = f"--max-leaked {example.allowance} --max-readable {example.allowance}"
        outcome = scan(asked, SilentListener(), f"{command} {allowed}" if example.allowance else command)
        write_reports(Path("audit/result.json"), ["html"], public=True)
        target.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copyfile(Path("audit", name), target / name)
    return outcome.result.verdict.status


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for one in EXAMPLES:
        print(f"{one.name}: {build(one, chosen)}", flush=True)
