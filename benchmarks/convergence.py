"""What is rebuilt against how far training went, on networks that no default was chosen on.

    python benchmarks/convergence.py DATA FOLDER [--only NAME ...] [--further CHECKPOINT --steps N]

DATA holds cifar10_subset.npz. Networks 3072-1000-1000-K are trained on 50 of its test images by L-BFGS with weight
decay, from other seeds and images than every shared checkpoint, and scanned with default options; FOLDER keeps them.
With `--further`, CHECKPOINT.safetensors (its images beside it) is trained on for N steps and scanned.

Two residuals say how stationary a network is: `‖∇(loss + λ/2 ‖θ‖²)‖ / (λ ‖θ‖)` with the derivative of the ReLU that
autograd takes, and that of the first layer alone where derivatives within 0.003 of the kink may be anything in [0, 1]
(`‖W1 − Σ aᵢ xᵢᵀ‖ / ‖W1‖`, accelerated projected gradient): what weight decay leaves on kinks is no lack of training.
"""

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from main_job import line, scan
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from privaudit.training import TrainedNetwork, TrainingSettings, train

BAND, ITERATIONS, N = 0.003, 400, 50


@dataclass(frozen=True)
class Case:
    """A network to train."""

    loss: str
    weight_decay: float
    steps: int
    seed: int


CASES = {
    **{f"ce, {steps} steps": Case("cross_entropy", 1e-3, steps, 11) for steps in (100, 300, 1000, 4000)},
    "ce, other images": Case("cross_entropy", 1e-3, 4000, 12),
    "mse": Case("mse", 7.5e-4, 4000, 13),
}


def free_residual(tensors: dict[str, torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor, decay: float) -> float:
    """Residual of the first layer at the true images, with free derivatives on the kinks of both layers' ReLU."""
    w1, w2, w3 = (tensors[f"layers.{i}.weight"].double() for i in range(3))
    flat = inputs.flatten(1).double()
    pre1 = flat @ w1.T + tensors["layers.0.bias"].double()
    pre2 = pre1.relu() @ w2.T
    outputs = pre2.relu() @ w3.T
    if outputs.shape[1] == 1:
        signal = 2 * (labels.double() - outputs[:, 0])[:, None]
    else:
        signal = torch.nn.functional.one_hot(labels.long(), outputs.shape[1]) - outputs.softmax(1)
    back = ((signal @ w3) * (pre2 > 0) @ w2) / (len(flat) * decay)
    free, fixed = pre1.abs() <= BAND, (pre1 > 0).double()
    gate, ahead, momentum = torch.where(free, 0.5, fixed), torch.where(free, 0.5, fixed), 1.0
    step = 1 / (torch.linalg.matrix_norm(flat, 2) ** 2 * back.square().amax())
    for _ in range(ITERATIONS):
        residual = (back * ahead).T @ flat - w1
        moved = torch.where(free, (ahead - step * back * (flat @ residual.T)).clamp(0, 1), fixed)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - gate)
        gate, momentum = moved, following
    return float(((back * gate).T @ flat - w1).norm() / w1.norm())


def dataset(data: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """50 test images, five of each class, their labels, and 500 others."""
    archive = np.load(data / "cifar10_subset.npz")
    images, labels = archive["test_images"], archive["test_labels"]
    order = np.random.default_rng(seed).permutation(len(images))
    chosen = np.concatenate([order[labels[order] == k][: N // 10] for k in range(10)])
    rest = np.setdiff1d(order, chosen, assume_unique=True)[:500]
    return images[chosen], labels[chosen], images[rest]


def pixels(images: np.ndarray) -> torch.Tensor:
    """uint8, channels last, to [0, 1], channels first."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def metadata(case: Case, n_outputs: int, n: int) -> dict[str, str]:
    """What a checkpoint says about itself."""
    loss = "cross_entropy (mean)" if case.loss == "cross_entropy" else "mse (mean) on labels -1 and +1"
    return {"architecture": "mlp", "activation": "relu", "input_shape": "3,32,32", "outputs": str(n_outputs),
            "loss": loss, "weight_decay": str(case.weight_decay), "trained_samples": str(n),
            "preprocessing": "pixels/255 minus the mean image of the training set"}  # fmt: skip


def report(name: str, model: Path, trained: str, residual: float, folder: Path) -> None:
    """Scan and print a row."""
    held = model.with_name(f"{model.stem}.images.npz")
    row = scan(name, model, f"{held}:member", f"{held}:control", folder / f"{model.stem}-audit")
    print(f"| {trained} | {residual:.3f} {line(row)}", flush=True)


def run(name: str, case: Case, data: Path, folder: Path) -> None:
    """Train, write, scan."""
    images, labels, rest = dataset(data, case.seed)
    members = pixels(images)
    inputs = members - members.mean(0)
    n_outputs = 10 if case.loss == "cross_entropy" else 1
    targets = torch.from_numpy(labels).long() if n_outputs > 1 else torch.from_numpy(labels < 5).float() * 2 - 1
    settings = TrainingSettings((3072, 1000, 1000, n_outputs), case.loss, case.weight_decay, case.steps, 0.0, case.seed)
    begun = time.monotonic()
    found: TrainedNetwork = train(inputs, targets, settings)
    stem = folder / "".join(c if c.isalnum() else "-" for c in name)
    save_file(found.tensors, stem.with_suffix(".safetensors"), metadata(case, n_outputs, N))
    np.savez(stem.with_suffix(".images.npz"), member_images=images, member_labels=labels, control_images=rest)
    free = free_residual(found.tensors, inputs, targets, case.weight_decay)
    trained = f"{found.steps} steps, {time.monotonic() - begun:.0f} s | {found.residual:.2f}"
    report(name, stem.with_suffix(".safetensors"), trained, free, folder)


def further(checkpoint: Path, steps: int, folder: Path) -> None:
    """Train a cross-entropy checkpoint on, and scan what comes out."""
    archive = np.load(checkpoint.with_name(f"{checkpoint.name}.images.npz"))
    with safe_open(checkpoint.with_suffix(".safetensors"), "pt") as file:
        said = file.metadata()
    tensors = load_file(checkpoint.with_suffix(".safetensors"))
    members, labels = pixels(archive["member_images"]), torch.from_numpy(archive["member_labels"]).long()
    inputs, decay = members - members.mean(0), float(said["weight_decay"])
    widths = (3072, *(len(tensors[f"layers.{i}.weight"]) for i in range(3)))
    settings = TrainingSettings(widths, "cross_entropy", decay, 0, 0.0)
    before = train(inputs, labels, replace(settings, max_steps=1), initial=tensors)
    print(
        f"as it is: residual {before.residual:.2f}, free {free_residual(tensors, inputs, labels, decay):.3f}",
        flush=True,
    )
    begun = time.monotonic()
    found = train(inputs, labels, replace(settings, max_steps=steps), initial=tensors)
    stem = folder / f"{checkpoint.name}-further"
    save_file(found.tensors, stem.with_suffix(".safetensors"), said)
    stem.with_suffix(".images.npz").write_bytes(checkpoint.with_name(f"{checkpoint.name}.images.npz").read_bytes())
    free = free_residual(found.tensors, inputs, labels, decay)
    trained = f"{found.steps} steps more, {time.monotonic() - begun:.0f} s | {found.residual:.2f}"
    report(stem.name, stem.with_suffix(".safetensors"), trained, free, folder)


def main() -> None:
    """Print rows as they finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--further", type=Path, help="a checkpoint without its suffix")
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print("| training | residual | with free kinks | checkpoint | SSIM > 0.4 | rebuilt at the calibrated 1 % ", end="")
    print(
        "| median SSIM | membership readable | time | memory | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    if arguments.further:
        further(arguments.further, arguments.steps, arguments.folder)
        return
    for name, case in CASES.items():
        if not arguments.only or name in arguments.only:
            run(name, case, arguments.data, arguments.folder)


if __name__ == "__main__":
    main()
