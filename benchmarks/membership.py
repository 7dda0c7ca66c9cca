"""The membership test on networks trained for it: one command prints the tables of benchmarks/RESULTS.md again.

    python benchmarks/membership.py CHECKPOINTS DATA [--networks FOLDER] [--only TABLE ...] [--json FILE]

CHECKPOINTS holds NAME.safetensors with NAME.images.npz; DATA holds cifar10_subset.npz. Networks 3072-W-W-10 are trained
on images of DATA (minutes a row on one core; kept in FOLDER when given). 500 train images that are no members are the
controls and set every scale; rates are those among the members and the about 5,400 images that are neither (for the
checkpoints: 2,000 test images). The loss-threshold attack (Yeom et al. 2018) is given the labels.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from privaudit.adapters import build_target
from privaudit.adapters.inputs import resolve_input_options
from privaudit.adapters.interface import AttackTarget
from privaudit.checkpoint import Checkpoint, load_checkpoint
from privaudit.membership import rectified_sites
from privaudit.membership.combination import combined_distance
from privaudit.membership.table import membership_parts
from privaudit.spans import cut_spectrum, linear_sites
from privaudit.statistics import quantile_threshold

N_CONTROLS = 500
NAMES = ("cifar10-ce-wd-50", "cifar10-mse-wd-50", "cifar10-bce-50", "cifar10-ce-wd-500", "cifar10-cnn-ce-wd-20")
VEHICLES = (0, 1, 8, 9)


@dataclass(frozen=True)
class Recipe:
    """One network to train: batches of 10, cosine schedule to 0, PyTorch's default initialisation."""

    n: int
    width: int
    optimiser: str
    learning_rate: float
    weight_decay: float
    steps: int

    @property
    def title(self) -> str:
        """As the tables name it."""
        named = {"sgd": "SGD", "adam": "Adam, L2", "adamw": "AdamW"}[self.optimiser]
        return f"{named} {self.learning_rate:g}, decay {self.weight_decay:g}, {self.steps} steps"


OPTIMISERS = tuple(
    Recipe(50, 500, *row)
    for row in (
        ("sgd", 0.05, 5e-3, 3000),
        ("sgd", 0.05, 5e-4, 20000),
        ("sgd", 0.05, 5e-4, 3000),
        ("sgd", 0.05, 0.0, 3000),
        ("adam", 1e-3, 5e-3, 3000),
        ("adam", 1e-3, 5e-4, 3000),
        ("adamw", 1e-3, 1e-2, 3000),
        ("adamw", 1e-3, 0.5, 3000),
    )
)
WIDTHS = tuple(Recipe(n, 256, "sgd", 0.05, 5e-3, 3000 * max(1, n // 100)) for n in (50, 100, 150, 200, 250, 300, 400))
STEPS = tuple(
    Recipe(50, 500, *row)
    for row in (
        ("sgd", 0.05, 5e-3, 300),
        ("sgd", 0.05, 5e-3, 1000),
        ("sgd", 0.05, 5e-4, 300),
        ("sgd", 0.05, 5e-4, 1000),
        ("adamw", 1e-3, 1e-2, 100),
        ("adamw", 1e-3, 1e-2, 300),
        ("adamw", 1e-3, 1e-2, 1000),
    )
)
TABLES = {"optimisers": (OPTIMISERS, (0, 1, 2)), "widths": (WIDTHS, (0,)), "steps": (STEPS, (0, 1))}


@dataclass(frozen=True)
class Case:
    """A network, images in its input units with the labels that its loss knows."""

    target: AttackTarget
    images: dict[str, Tensor]
    losses: dict[str, np.ndarray]


def pixels(images: np.ndarray) -> Tensor:
    """(N, H, W, C) uint8 to (N, C, H, W) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def chosen(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Indices of n members, n / 10 of each class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate([order[labels[order] == k][: n // 10] for k in range(10)])


def trained(recipe: Recipe, inputs: Tensor, labels: Tensor, seed: int) -> dict[str, Tensor]:
    """Weights after training on (n, 3072) inputs."""
    torch.manual_seed(seed)
    width = recipe.width
    network = nn.Sequential(nn.Linear(3072, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimiser]
    extra = {"momentum": 0.9} if recipe.optimiser == "sgd" else {}
    optimiser = kind(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **extra)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    step = 0
    while step < recipe.steps:
        for batch in torch.randperm(recipe.n).split(10):
            if step == recipe.steps:
                break
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()
            step += 1
    return network.state_dict()


def trained_case(recipe: Recipe, seed: int, data: Path, folder: Path) -> Case:
    """Train, or read what an earlier call trained."""
    archive = np.load(data / "cifar10_subset.npz")
    images, labels = archive["train_images"], archive["train_labels"]
    members = chosen(labels, recipe.n, seed)
    rest = np.random.default_rng(1000 + seed).permutation(np.setdiff1d(np.arange(len(images)), members))
    mean = pixels(images[members]).mean(0)
    groups = {
        "members": (images[members], labels[members]),
        "controls": (images[rest[:N_CONTROLS]], labels[rest[:N_CONTROLS]]),
        "fresh": (
            np.concatenate([images[rest[N_CONTROLS:]], archive["test_images"]]),
            np.concatenate([labels[rest[N_CONTROLS:]], archive["test_labels"]]),
        ),
    }
    held = {name: pixels(group[0]) - mean for name, group in groups.items()}
    file = folder / (
        f"{recipe.n}-{recipe.width}-{recipe.optimiser}-{recipe.weight_decay:g}-{recipe.steps}-{seed}.safetensors"
    )
    if not file.exists():
        targets = torch.from_numpy(labels[members]).long()
        save_file(trained(recipe, held["members"].flatten(1), targets, seed), file)
    metadata = {"input_shape": "3,32,32", "activation": "relu"}
    checkpoint = Checkpoint(file, load_file(file), "", "safetensors", metadata)
    target = build_target(checkpoint, "auto", resolve_input_options(checkpoint))
    losses = {name: loss_of(target, held[name], groups[name][1], "cross") for name in groups}
    return Case(target, held, losses)


def checkpoint_case(name: str, checkpoints: Path, data: Path) -> Case:
    """One of the real checkpoints; its own controls, and test images as the others."""
    checkpoint = load_checkpoint(checkpoints / f"{name}.safetensors")
    target = build_target(checkpoint, "auto", resolve_input_options(checkpoint))
    held, test = np.load(checkpoints / f"{name}.images.npz"), np.load(data / "cifar10_subset.npz")
    groups = {
        "members": (held["member_images"], held["member_labels"]),
        "controls": (held["control_images"], held["control_labels"]),
        "fresh": (test["test_images"], test["test_labels"]),
    }
    mean = pixels(held["member_images"]).mean(0)
    images = {group: pixels(values[0]) - mean for group, values in groups.items()}
    losses = {group: loss_of(target, images[group], groups[group][1], name) for group in groups}
    return Case(target, images, losses)


def loss_of(target: AttackTarget, inputs: Tensor, labels: np.ndarray, name: str) -> np.ndarray:
    """(N,) loss of every image under its own label."""
    outputs = target.outputs(inputs).double()
    if outputs.shape[1] > 1:
        return nn.functional.cross_entropy(outputs, torch.from_numpy(labels).long(), reduction="none").numpy()
    is_sign = set(np.unique(labels)) <= {-1, 1}
    signs = labels if is_sign else np.where(np.isin(labels, VEHICLES), -1, 1)
    margin = torch.from_numpy(signs.astype(np.float64)) * outputs[:, 0]
    loss = (margin - 1) ** 2 if "mse" in name else nn.functional.softplus(-margin)
    return loss.numpy()


def measured(case: Case) -> dict[str, object]:
    """Every statistic's rates, and what the tool's own threshold lets pass."""
    sites = linear_sites(case.target)
    cut = cut_spectrum(sites[0].weight)
    n = len(case.images["members"])
    others = torch.cat([case.images["members"], case.images["fresh"]])
    rectified = rectified_sites(case.target.module, sites, others)
    parts = membership_parts(sites[0], cut, rectified, others, case.images["controls"])
    distance, control = combined_distance(parts)
    scores = {part.name.split(" of ")[0] + (part.name[-2:] if "kinks" in part.name else ""): part for part in parts}
    rates = {name: _rates(part.members[:n], part.members[n:]) for name, part in scores.items()}
    rates["combination"] = _rates(-distance[:n], -distance[n:])
    rates["loss"] = _rates(-case.losses["members"], -case.losses["fresh"])
    if any("kinks" in name for name in rates):
        kinks = [part for name, part in scores.items() if "kinks" in name]
        joined = combined_distance(kinks)[0]
        rates["kinks"] = _rates(-joined[:n], -joined[n:])
    passed = distance < control.min()
    hard = next((p for p in parts if p.name.startswith("row space")), None)
    return {
        "n": n,
        "cut": f"{cut.rank} ({cut.rule})",
        "rates": rates,
        "found": int(passed[:n].sum()),
        "found_hard": None if hard is None else int((hard.members[:n] > hard.controls.max()).sum()),
        "false": int(passed[n:].sum()),
        "fresh": len(passed) - n,
    }


def _rates(members: np.ndarray, fresh: np.ndarray) -> tuple[float, float]:
    """Share of the members above the fresh images' quantiles at 1 % and 0.1 %."""
    thresholds = [quantile_threshold(fresh, rate).value for rate in (0.01, 0.001)]
    return tuple(float((members > value).mean()) for value in thresholds if value is not None)  # type: ignore[return-value]


COLUMNS = ("row space", "whitened row space", "kinks", "combination", "loss")


def line(title: str, rows: list[dict]) -> str:
    """A row of a table: means over the seeds, percent at 1 % and at 0.1 %."""
    cells = []
    for column in COLUMNS:
        values = np.array([row["rates"].get(column, (np.nan, np.nan)) for row in rows]).mean(0)
        cells.append("–" if np.isnan(values).any() else f"{100 * values[0]:.0f} / {100 * values[1]:.0f}")
    total, false, fresh = (sum(row[key] for row in rows) for key in ("n", "false", "fresh"))
    hard = [row["found_hard"] for row in rows]
    before = "–" if None in hard else f"{sum(hard)}"
    found = f"{before} → {sum(row['found'] for row in rows)} of {total}"
    return f"| {title} | {rows[0]['cut']} | {' | '.join(cells)} | {found} | {100 * false / fresh:.2f} % |"


HEAD = (
    "| network | directions (first seed) | row space | whitened row space | kinks | combination | loss (needs labels) "
    "| found, nearer than all 500 controls: row space → combination | fresh images that pass |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Train, measure, print rows as they finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", type=Path, help="keep trained networks here and use those that are there")
    parser.add_argument("--only", nargs="*", choices=["checkpoints", *TABLES], help="names of tables")
    parser.add_argument("--json", type=Path, help="write everything here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    gathered: dict[str, list] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.networks or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = ""
        for name, title, rows in _rows(arguments, folder):
            if name != table:
                table = name
                print(f"\n{name}\n\n{HEAD}")
            print(line(title, rows), flush=True)
            gathered.setdefault(name, []).append({"title": title, "seeds": rows})
    if arguments.json:
        arguments.json.write_text(json.dumps(gathered, indent=1))


def _rows(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, list[dict]]]:
    only = arguments.only
    if not only or "checkpoints" in only:
        for name in NAMES:
            yield "checkpoints", name, [measured(checkpoint_case(name, arguments.checkpoints, arguments.data))]
    for table, (recipes, seeds) in TABLES.items():
        if not only or table in only:
            for recipe in recipes:
                title = f"n = {recipe.n}, width {recipe.width}" if table == "widths" else recipe.title
                yield (
                    table,
                    title,
                    [measured(trained_case(recipe, seed, arguments.data, folder)) for seed in seeds],
                )


if __name__ == "__main__":
    main()
