"""Time to the published optimiser's final count on cifar10-mse-wd-50.

    python benchmarks/time_to_published.py CHECKPOINTS [--seconds 480] [--only-ours]

The published optimiser (`published_step.py`) runs for `--seconds`; then ours: the equation alone with every candidate
handed on, the attack with short plans, and the default plan's first snapshot; the time of the survey (spectra, search
space) stands beside that of the attack. Both are counted above the same threshold: the 1 % quantile of the placebo, as
many random images of the span as ours hands on (METHOD 3f), members as targets. The published candidates are scored
with the mean added and stretched to [0, 1] as published, and the better of the two counts. Its settings were chosen by
26 runs of 15 to 30 s inside the published ranges, scored against the members, as published. Set OMP_NUM_THREADS=1.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from published_step import PublishedAttack, PublishedSettings

from privaudit.attack_types import Searches, Snapshot
from privaudit.budget import Plan, plan_for
from privaudit.config import ScanSettings
from privaudit.inspection import survey_of
from privaudit.loading import Loaded, load
from privaudit.matching import best_scores
from privaudit.networks import ReluMlp
from privaudit.progress import SilentListener
from privaudit.searches import build_searches
from privaudit.solver import SolverSettings, minimise
from privaudit.trials import attack

NAME = "cifar10-mse-wd-50"
SETTINGS = PublishedSettings(rate=0.136, multiplier_rate=0.0028, init_scale=9e-4, smoothing=137.0)
SINGLE = [(1, 200), (1, 300), (1, 500), (2, 300), (2, 500)]  # restarts, steps of the equation alone
PLANS = [(4, 300), (4, 400), (4, 500), (8, 250), (8, 300), (8, 500)]  # restarts, steps of a round of the attack
DRAWS, SHARE, LEVEL = 20, 0.99, 0.4


def score(loaded: Loaded, pixels: torch.Tensor) -> np.ndarray:
    """(n,) best SSIM of every member."""
    assert loaded.reference is not None
    return best_scores(loaded.reference.pixels, pixels).ssim


def published_scores(loaded: Loaded, images: torch.Tensor) -> np.ndarray:
    """Scores of (m, d) network inputs under the kinder of the two ways to make pixels of them."""
    flat = images.detach().float().cpu().view(-1, *loaded.target.input_shape)
    raw = loaded.knowledge.pixels(flat)
    low, high = raw.amin((1, 2, 3), keepdim=True), raw.amax((1, 2, 3), keepdim=True)
    plain, stretched = score(loaded, raw), score(loaded, (raw - low) / (high - low))
    return max(plain, stretched, key=lambda s: (int((s > LEVEL).sum()), float(s.mean())))


def run_published(loaded: Loaded, seconds: float) -> tuple[np.ndarray, float]:
    """Scores at the end and the time of the optimiser alone; a line every minute."""
    network = loaded.target.module
    assert isinstance(network, ReluMlp) and loaded.reference is not None
    layers = network.linear_layers()
    m = 2 * len(loaded.reference)
    own = PublishedAttack([x.weight for x in layers], [x.bias for x in layers], m, SETTINGS)
    spent, told, n, best = 0.0, 0.0, 0, np.zeros(len(loaded.reference))
    while spent < seconds:
        begun = time.monotonic()
        loss = float(own.step())
        spent, n = spent + time.monotonic() - begun, n + 1
        if spent - told > 60 or spent >= seconds:
            told, best = spent, published_scores(loaded, own.images)
            print(f"published, {spent:.0f} s, {n} steps: loss {loss:.4f}, {(best > LEVEL).sum()} above {LEVEL}, "
                  f"best {best.max():.2f}", flush=True)  # fmt: skip
    return best, spent


def run_ours(loaded: Loaded, settings: ScanSettings, plan: Plan | None) -> tuple[float, list[Snapshot], Searches]:
    """Seconds of survey and building, snapshots of the attack, and its searches; None: the default plan."""
    begun = time.monotonic()
    searches = build_searches(
        loaded.target, survey_of(loaded, settings), loaded.knowledge, None, torch.float32, loaded.device
    )
    built = time.monotonic() - begun
    if plan is not None:
        searches = replace(searches, feature_span=None)
    plan = plan or plan_for("standard", searches.n_images, None, None)
    return built, list(attack(searches, plan, 0, SilentListener()).history), searches


def run_alone(loaded: Loaded, settings: ScanSettings, size: tuple[int, int]) -> tuple[float, list[Snapshot], Searches]:
    """As `run_ours`, one minimisation with every candidate handed on: what restarts agree on is not asked."""
    begun = time.monotonic()
    searches = build_searches(
        loaded.target, survey_of(loaded, settings), loaded.knowledge, None, torch.float32, loaded.device
    )
    equation, built = searches.equation, time.monotonic() - begun
    assert equation is not None
    restarts, steps = size
    start = equation.start(restarts, torch.Generator().manual_seed(0))
    found = equation.inputs(minimise(equation, start, SolverSettings(steps)).variables).flatten(0, 1).cpu()
    seconds = time.monotonic() - begun - built
    return built, [Snapshot(seconds, loaded.knowledge.pixels(found).float())], searches


def placebo_threshold(loaded: Loaded, searches: Searches, n: int) -> float:
    """1 % quantile over draws of `n` unoptimised images of the span."""
    assert searches.equation is not None
    draws = [searches.equation.placebo(n, torch.Generator().manual_seed(k)) for k in range(DRAWS)]
    scores = [score(loaded, loaded.knowledge.pixels(draw.cpu())) for draw in draws]
    return float(np.quantile(np.concatenate(scores), SHARE))


def main() -> None:
    """Print counts, times and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--only-ours", action="store_true", help="leave the published optimiser out")
    arguments = parser.parse_args()
    held = arguments.checkpoints / f"{NAME}.images.npz"
    settings = ScanSettings(
        model=arguments.checkpoints / f"{NAME}.safetensors", reference=f"{held}:member", control=f"{held}:control"
    )
    loaded = load(settings, SilentListener())
    reached, spent = (np.zeros(1), 0.0) if arguments.only_ours else run_published(loaded, arguments.seconds)
    print(
        "\n| ours: restarts, steps | survey s | attack s | images | placebo 1 % | ours above it | published above it "
        "| ours > 0.4 | published > 0.4 | published time / attack | / survey and attack |\n" + 11 * "|---" + "|"
    )
    todo = [(f"equation alone: {size}", partial(run_alone, loaded, settings, size)) for size in SINGLE]
    todo += [(f"attack: {size}", partial(run_ours, loaded, settings, Plan(1, *size, 0, 0, None))) for size in PLANS]
    for label, run in [*todo, ("attack: default plan, first round", partial(run_ours, loaded, settings, None))]:
        built, history, searches = run()
        first = history[0]
        if not len(first.pixels):
            print(f"| {label} | {built:.1f} | {first.seconds:.1f} | 0: its restarts agreed on nothing |", flush=True)
            continue
        threshold, own = placebo_threshold(loaded, searches, len(first.pixels)), score(loaded, first.pixels)
        print(
            f"| {label} | {built:.1f} | {first.seconds:.1f} | {len(first.pixels)} | {threshold:.3f} "
            f"| {(own > threshold).sum()} | {(reached > threshold).sum()} | {(own > LEVEL).sum()} "
            f"| {(reached > LEVEL).sum()} | {spent / first.seconds:.0f} | {spent / (built + first.seconds):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
