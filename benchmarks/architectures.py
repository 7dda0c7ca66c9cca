"""What is rebuilt behind convolutions, and how depth, pooling, augmentation, mini-batches and AdamW weaken it.

    python benchmarks/architectures.py DATA FOLDER [--only NAME ...] [--train-only]

DATA holds cifar10_subset.npz. Networks are trained on its test images, which no shared checkpoint has seen, and scanned
with default options for ten minutes at most; FOLDER keeps checkpoints and results, and what is there already is not
trained again.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from main_job import line, scan
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A network and how it is trained. `blocks`: (channels, stride, max-pool) of every 3x3 convolution."""

    n: int = 50
    outputs: int = 10
    blocks: tuple[tuple[int, int, int], ...] = ((32, 1, 1),)
    padding: int = 0
    hidden: int = 200
    batch_norm: bool = False
    batch: int | None = None
    augmented: bool = False
    optimiser: str = "sgd"
    rate: float = 0.1
    decay: float = 5e-3
    steps: int = 4000
    seed: int = 21
    time_limit: int = 600


POOLED = ((32, 1, 2), (64, 1, 2), (64, 1, 2))
CASES = {
    "1 convolution": Case(),
    "1 convolution, 100 images": Case(n=100, steps=6000),
    "1 convolution, 1 output": Case(outputs=1, time_limit=120),
    "2 convolutions": Case(blocks=((32, 1, 1), (32, 1, 1)), rate=0.03, steps=8000),
    "1 convolution, stride 2": Case(blocks=((32, 2, 1),), padding=1),
    "1 convolution, max-pool": Case(blocks=((32, 1, 2),), padding=1),
    "3 convolutions, 1 max-pool": Case(blocks=((32, 1, 2), (32, 1, 1), (32, 1, 1)), padding=1, rate=0.05, steps=6000),
    "3 convolutions, max-pools": Case(blocks=POOLED, padding=1, hidden=256, steps=6000),
    "1 convolution, BatchNorm": Case(batch_norm=True),
    "1 convolution, batches of 10": Case(batch=10, rate=0.02, steps=20000),
    "1 convolution, AdamW": Case(optimiser="adamw", rate=1e-3, decay=0.5, time_limit=120),
    "1 convolution, decay 5e-4": Case(decay=5e-4),
    "1 convolution, rate 0.02": Case(rate=0.02),
    "1 convolution, flips and crops": Case(augmented=True, time_limit=120),
}


def network(case: Case) -> nn.Sequential:
    """Convolutions with ReLU, a hidden linear layer and the outputs, in the names of a plain `nn.Sequential`."""
    torch.manual_seed(case.seed)
    modules: list[nn.Module] = []
    channels, side = 3, 32
    for width, stride, pool in case.blocks:
        modules.append(nn.Conv2d(channels, width, 3, stride, case.padding))
        modules += [nn.BatchNorm2d(width)] if case.batch_norm else []
        modules.append(nn.ReLU())
        modules += [nn.MaxPool2d(pool)] if pool > 1 else []
        channels, side = width, ((side + 2 * case.padding - 3) // stride + 1) // pool
    modules += [nn.Flatten(), nn.Linear(channels * side * side, case.hidden), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(case.hidden, case.outputs, bias=False))


def dataset(data: Path, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n test images in equal classes, their labels, and 500 others."""
    archive = np.load(data / "cifar10_subset.npz")
    images, labels = archive["test_images"], archive["test_labels"]
    order = np.random.default_rng(case.seed).permutation(len(images))
    chosen = np.concatenate([order[labels[order] == k][: case.n // 10] for k in range(10)])
    rest = np.setdiff1d(order, chosen, assume_unique=True)
    rest = np.random.default_rng(case.seed).permutation(rest)[:500]
    return images[chosen], labels[chosen], images[rest]


def augment(inputs: Tensor) -> Tensor:
    """Flips, and shifts by up to four pixels with zeros behind."""
    flipped = torch.where(torch.rand(len(inputs), 1, 1, 1) < 0.5, inputs.flip(3), inputs)
    padded = nn.functional.pad(flipped, (4, 4, 4, 4))
    down, across = torch.randint(0, 9, (2, len(inputs))).tolist()
    height, width = inputs.shape[2:]
    parts = zip(padded, down, across, strict=True)
    return torch.stack([image[:, y : y + height, x : x + width] for image, y, x in parts])


def train(case: Case, inputs: Tensor, labels: Tensor) -> tuple[nn.Sequential, float, float]:
    """The network, its mean loss in evaluation mode and `‖∇(loss + λ/2 ‖θ‖²)‖ / (λ ‖θ‖)`."""
    model = network(case)
    if case.optimiser == "adamw":
        optimiser: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), case.rate, weight_decay=case.decay)
    else:
        optimiser = torch.optim.SGD(model.parameters(), case.rate, momentum=0.9, weight_decay=case.decay)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        out = model(x)
        if case.outputs == 1:
            return (out[:, 0] - torch.where(y < 5, 1.0, -1.0)).square().mean()
        return nn.functional.cross_entropy(out, y)

    for step in range(case.steps):
        for group in optimiser.param_groups:
            group["lr"] = case.rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / case.steps))
        picked = torch.arange(len(inputs)) if case.batch is None else torch.randperm(len(inputs))[: case.batch]
        batch = augment(inputs[picked]) if case.augmented else inputs[picked]
        optimiser.zero_grad(set_to_none=True)
        loss_of(batch, labels[picked]).backward()
        optimiser.step()
    model.eval()
    optimiser.zero_grad(set_to_none=True)
    loss = loss_of(inputs, labels)
    loss.backward()
    left = torch.cat([(p.grad + case.decay * p.detach()).flatten() for p in model.parameters()])
    norm = torch.cat([p.detach().flatten() for p in model.parameters()]).norm()
    return model, float(loss), float(left.norm() / (case.decay * norm))


def metadata(case: Case) -> dict[str, str]:
    """What the checkpoint says about itself."""
    return {
        "architecture": "convolutions in front of an MLP", "activation": "relu", "input_shape": "3,32,32",
        "stride": ",".join(str(stride) for _, stride, _ in case.blocks), "padding": str(case.padding),
        "pool": ",".join("max2" if pool > 1 else "none" for *_, pool in case.blocks),
        "loss": "cross_entropy (mean)" if case.outputs > 1 else "mse (mean) on labels -1 and +1",
        "weight_decay": str(case.decay), "trained_samples": str(case.n),
        "preprocessing": "pixels/255 minus the mean image of the training set",
    }  # fmt: skip


def prepare(name: str, case: Case, data: Path, folder: Path) -> tuple[Path, str]:
    """Train and write unless it is there; the checkpoint and a cell about training."""
    stem = folder / "".join(c if c.isalnum() else "-" for c in name)
    model, note = stem.with_suffix(".safetensors"), stem.with_suffix(".txt")
    if not note.exists():
        images, labels, rest = dataset(data, case)
        members = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        begun = time.monotonic()
        found, loss, residual = train(case, members - members.mean(0), torch.from_numpy(labels).long())
        save_file(found.state_dict(), model, metadata(case))
        np.savez(stem.with_suffix(".images.npz"), member_images=images, member_labels=labels, control_images=rest)
        note.write_text(f"{case.steps} steps, {time.monotonic() - begun:.0f} s, loss {loss:.1e} | {residual:.2f}")
    return model, note.read_text()


def main() -> None:
    """Print rows as they finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        if arguments.only and name not in arguments.only:
            continue
        model, trained = prepare(name, case, arguments.data, arguments.folder)
        if arguments.train_only:
            print(f"{name}: {trained}", flush=True)
            continue
        held = model.with_name(f"{model.stem}.images.npz")
        out = arguments.folder / f"{model.stem}-audit"
        row = scan(name, model, f"{held}:member", f"{held}:control", out, "--time-limit", str(case.time_limit))
        print(f"| {trained} {line(row)}", flush=True)


if __name__ == "__main__":
    main()
