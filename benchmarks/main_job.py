"""The main job on real checkpoints: one command prints the table of benchmarks/RESULTS.md again.

    python benchmarks/main_job.py CHECKPOINTS DATA [--only NAME ...] [--json FILE]

CHECKPOINTS holds NAME.safetensors with NAME.images.npz (member_images, control_images); DATA holds
cifar10_subset.npz, for images that no network has seen. Every row is `privaudit scan` with default options in a process
of its own; time is that of the whole process, memory its peak.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

TARGETS = {  # SSIM > 0.4, calibrated, membership (None: report it), seconds
    "cifar10-ce-wd-50": (48, 45, 50, 120),
    "cifar10-mse-wd-50": (42, 40, 50, 120),
    "cifar10-bce-50": (28, 28, None, 120),
    "cifar10-ce-wd-500": (150, 300, 500, 900),
    "cifar10-cnn-ce-wd-20": (20, 20, 20, 120),
}


@dataclass(frozen=True)
class Row:
    """One scan."""

    name: str
    result: dict
    seconds: float
    peak_mib: float
    exit_code: int


def scan(name: str, model: Path, reference: str, control: str, out: Path, *options: str) -> Row:
    """Run `privaudit scan` with default options and those given."""
    command = [sys.executable, "-m", "privaudit", "scan", str(model), "--reference", reference, "--control", control]
    begun = time.monotonic()
    process = subprocess.Popen(
        [*command, "--out", str(out), "-q", "--no-progress", *options], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    result = json.loads((out / "result.json").read_text())
    return Row(name, result, seconds, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))


def untrained(model: Path, path: Path) -> None:
    """The same shapes with PyTorch's default initialisation, the same metadata."""
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(model)
    fresh = {}
    for name, value in tensors.items():
        weight = tensors[name.replace("bias", "weight")]
        bound = weight[0].numel() ** -0.5
        fresh[name] = (2 * torch.rand(value.shape, generator=generator) - 1) * bound
    with safe_open(model, "pt") as file:
        metadata = file.metadata()
    save_file(fresh, path, metadata)


def unseen(data: Path, path: Path) -> None:
    """50 images no checkpoint has seen, five of each class, and 500 others as controls."""
    archive = np.load(data / "cifar10_subset.npz")
    images, labels = archive["test_images"], archive["test_labels"]
    order = np.random.default_rng(0).permutation(len(images))
    chosen = np.concatenate([order[labels[order] == k][:5] for k in range(10)])
    rest = np.setdiff1d(order, chosen, assume_unique=True)[:500]
    np.savez(
        path,
        member_images=images[chosen],
        member_labels=labels[chosen],
        control_images=images[rest],
        control_labels=labels[rest],
    )


def line(row: Row) -> str:
    """One row of the table."""
    evidence = row.result["evidence"]
    low, high = evidence["published_threshold"], evidence["calibrated_threshold"]
    member, n, controls = evidence["membership"], evidence["members"], evidence["controls"]
    ssim = sorted(record["ssim"] for record in evidence["records"])
    target = TARGETS.get(row.name)
    want = "" if target is None else f" (≥ {target[0]})", "" if target is None else f" (≥ {target[1]})"
    calibrated = f"{high['members_leaked']} of {n}{want[1]}; nothing was reconstructed"
    if high["ssim"] is not None:
        calibrated = (
            f"{high['members_leaked']} of {n}{want[1]}; SSIM > {high['ssim']:.2f}, "
            f"controls {high['cross_fit']['controls_found']} of {controls}"
        )
    judged = member["cross_fit"]  # each by the threshold of the half it is not in
    readable = f"{member['members_found']} of {n}, {judged['controls_found'] if judged else 0} of {controls}"
    return (
        f"| {row.name} | {low['members_leaked']} of {n}{want[0]}; placebo {low['placebo_leaked'] or 0:.1f}, "
        f"controls {low['controls_leaked']} | {calibrated} | {ssim[len(ssim) // 2]:.2f} "
        f"| {readable if member['applicable'] else 'not applicable'} "
        f"| {row.seconds:.0f} s{'' if target is None else f' (≤ {target[3]})'} | {row.peak_mib:.0f} MiB "
        f"| {row.result['verdict']['status']}, exit {row.exit_code} |"
    )


def main() -> None:
    """Run the rows and print them as they finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--json", type=Path, help="write every result.json here, as one list")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| checkpoint | SSIM > 0.4 | rebuilt at the calibrated 1 % | median SSIM ", end="")
    print("| membership readable | time | memory | verdict |\n|---|---|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(arguments.checkpoints, arguments.data, Path(folder), arguments.only):
            print(line(row), flush=True)
            rows.append({"row": row.name, "seconds": row.seconds, "peak_mib": row.peak_mib, "result": row.result})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows))


def _rows(checkpoints: Path, data: Path, folder: Path, only: list[str] | None):
    for name in TARGETS:
        if not only or name in only:
            held = checkpoints / f"{name}.images.npz"
            yield scan(name, checkpoints / f"{name}.safetensors", f"{held}:member", f"{held}:control", folder / name)
    for name in ("cifar10-ce-wd-50", "cifar10-cnn-ce-wd-20"):
        row, held = f"{name}, untrained", checkpoints / f"{name}.images.npz"
        if not only or row in only:
            model = folder / f"{name}-untrained.safetensors"
            untrained(checkpoints / f"{name}.safetensors", model)
            yield scan(row, model, f"{held}:member", f"{held}:control", folder / row)
    held = folder / "unseen.npz"
    unseen(data, held)
    for name in TARGETS:
        row = f"{name}, 50 unseen images"
        if not only or row in only:
            yield scan(row, checkpoints / f"{name}.safetensors", f"{held}:member", f"{held}:control", folder / row)


if __name__ == "__main__":
    main()
