"""Exposure of a network's training images: what multipliers alone read, beside the loss-threshold attack.

    python benchmarks/exposure.py MODEL IMAGES.npz [--adapter NAME] [--train DATA --epochs N --seed S --n N]
    python benchmarks/exposure.py MODEL IMAGES.npz [--adapter NAME] --unseen DATA

IMAGES.npz holds member_images, member_labels, control_images, control_labels. With `--train`, MODEL and IMAGES are
written first: a ResNet-18 of torchvision for 32 x 32 inputs on some test images of DATA/cifar10_subset.npz, SGD with
momentum, batches of 50, weight decay 5e-3, no augmentation. With `--unseen`, the whole membership test (all parts, as a
scan combines them) on images of DATA that are neither members nor controls, fifty at a time in the members' place: what
passes is a false alarm.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from privaudit.adapters import build_target, resolve_input_options
from privaudit.adapters.interface import AttackTarget
from privaudit.checkpoint import load_checkpoint
from privaudit.data import ImageSet
from privaudit.membership import read_membership
from privaudit.membership.exposure import exposure
from privaudit.preprocessing import resolve_preprocessing
from privaudit.spans import cut_spectrum, linear_sites
from privaudit.statistics import auc

BATCH, RATE, DECAY = 50, 0.05, 5e-3


def train(data: Path, model: Path, images: Path, epochs: int, seed: int, n: int) -> None:
    """A ResNet-18, and the images with 500 controls."""
    archive = np.load(data / "cifar10_subset.npz")
    held, labels = archive["test_images"], archive["test_labels"]
    order = np.random.default_rng(seed).permutation(len(held))
    chosen = np.concatenate([order[labels[order] == k][: n // 10] for k in range(10)])
    rest = np.setdiff1d(order, chosen, assume_unique=True)
    rest = np.random.default_rng(seed).permutation(rest)[:500]
    np.savez(
        images, member_images=held[chosen], member_labels=labels[chosen], control_images=held[rest],
        control_labels=labels[rest],
    )  # fmt: skip
    inputs = (torch.from_numpy(held[chosen]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    targets = torch.from_numpy(labels[chosen]).long()
    torch.manual_seed(seed)
    network = models.resnet18(num_classes=10)
    optimiser = torch.optim.SGD(network.parameters(), RATE, momentum=0.9, weight_decay=DECAY)
    n_steps = epochs * n // BATCH
    for step in range(n_steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        picked = torch.randperm(n)[:BATCH]
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(inputs[picked]), targets[picked]).backward()
        optimiser.step()
    said = {"loss": "cross_entropy", "weight_decay": str(DECAY), "mean": "0.5", "std": "0.25", "input_shape": "3,32,32"}
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, model, said)


def rates(members: np.ndarray, controls: np.ndarray) -> str:
    """Area under the curve and share of members above the 1 % quantile of controls, and above all of them."""
    above = np.mean(members > np.quantile(controls, 0.99)), np.mean(members > controls.max())
    return f"AUC {auc(-members, -controls):.3f}, {above[0]:.1%} at 1 %, {above[1]:.1%} above all {len(controls)}"


def main() -> None:
    """Print what multipliers and losses read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--adapter", default="auto")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--unseen", type=Path)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train, arguments.model, arguments.images, arguments.epochs, arguments.seed, arguments.n)
    checkpoint = load_checkpoint(arguments.model)
    target = build_target(checkpoint, arguments.adapter, resolve_input_options(checkpoint))
    archive = np.load(arguments.images)
    pixels = {
        role: torch.from_numpy(archive[f"{role}_images"]).permute(0, 3, 1, 2).float() / 255
        for role in ("member", "control")
    }
    reference = ImageSet(pixels["member"], None, ("",) * len(pixels["member"]), "members")
    prepared = resolve_preprocessing(None, None, checkpoint.metadata, target.input_shape, reference, arguments.model)
    inputs = {role: prepared.to_inputs(value) for role, value in pixels.items()}
    if arguments.unseen:
        others = np.load(arguments.unseen / "cifar10_subset.npz")["test_images"]
        seen = {image.tobytes() for role in pixels for image in archive[f"{role}_images"]}
        others = np.stack([image for image in others if image.tobytes() not in seen][:1000])
        strangers = torch.from_numpy(others).permute(0, 3, 1, 2).float() / 255
        print(false_alarms(target, inputs, prepared.to_inputs(strangers)))
        return
    begun = time.monotonic()
    found = exposure(target.as_trained, inputs["member"], inputs["control"])
    seconds = time.monotonic() - begun
    if isinstance(found, str):
        print(found)
        return
    print(f"multipliers: {rates(found.members, found.controls)}; {seconds:.0f} s. {found.reason}")
    print(f"explained by members alone {found.explained_by_members:.1%}, as many controls "
          f"{found.explained_by_controls:.1%}, all {found.explained:.1%}")  # fmt: skip
    if target.n_outputs > 1 and "member_labels" in archive:
        losses = {role: _losses(target.outputs(inputs[role]), archive[f"{role}_labels"]) for role in inputs}
        print(f"loss (needs labels): {rates(-losses['member'], -losses['control'])}")


def false_alarms(target: AttackTarget, inputs: dict[str, Tensor], strangers: Tensor) -> str:
    """How many of the strangers pass as members."""
    sites = linear_sites(target)
    cut = cut_spectrum(sites[0].weight, target.n_outputs) if sites else None
    passed = []
    for held in torch.split(strangers, 50):
        table = read_membership(target, sites, cut, held, inputs["control"], 0.01)
        passed.append(table.members_found)
    n_controls = len(inputs["control"])
    stated = f"1 in {n_controls + 1} stated, {len(strangers) / (n_controls + 1):.1f} expected"
    return f"{sum(passed)} of {len(strangers)} strangers pass ({stated}); by fifties {passed}"


def _losses(outputs: Tensor, labels: np.ndarray) -> np.ndarray:
    return nn.functional.cross_entropy(outputs, torch.from_numpy(labels).long(), reduction="none").numpy()


if __name__ == "__main__":
    main()
