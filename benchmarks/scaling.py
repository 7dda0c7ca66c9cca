"""How the time of a step grows with images, inputs, width, outputs and restarts: a table and a figure.

    python benchmarks/scaling.py [--figure docs/scaling.svg] [--repeats 5]

Random networks d-width-width-K, whose first two layers have rank n, searched in the span with 1.25 n candidates, Adam
and prior included. One size changes at a time; the others stay at n = 50, d = 3072, width 1000, K = 10, one restart.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from random_problem import Size, equation

from privaudit.solver import SolverSettings, minimise

BASE = Size()
SWEEPS = {
    "n": (25, 50, 100, 200, 400, 800),
    "side": (8, 16, 32, 64, 96),
    "width": (250, 500, 1000, 2000),
    "outputs": (1, 10, 100, 1000),
    "restarts": (1, 2, 4, 8, 16),
}
LABELS = {"n": "n", "side": "d", "width": "width", "outputs": "outputs K", "restarts": "restarts R"}
SHORTEST_S = 0.2  # of a measurement


def wait() -> None:
    """For the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def step_ms(size: Size, repeats: int) -> float:
    """Median milliseconds of a step of all restarts."""
    problem = equation(size)
    start = problem.start(size.restarts, torch.Generator().manual_seed(0))

    def run(n: int) -> float:
        wait()
        begun = time.perf_counter()
        minimise(problem, start, SolverSettings(n))
        wait()
        return (time.perf_counter() - begun) / n

    run(2)
    n = max(2, round(SHORTEST_S / run(2)))
    return 1e3 * statistics.median(run(n) for _ in range(repeats))


def shown(key: str, value: int) -> int:
    """d for a side."""
    return replace(BASE, side=value).d if key == "side" else value


def slope(values: list[int], times: list[float]) -> float:
    """Exponent between the last two sizes."""
    pair = torch.tensor([values[-2:], times[-2:]], dtype=torch.float64).log()
    return float((pair[1, 1] - pair[1, 0]) / (pair[0, 1] - pair[0, 0]))


def draw(path: Path, results: dict[str, tuple[list[int], list[float]]]) -> None:
    """One panel a size, all on logarithmic axes of the same height."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "privaudit"
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(11, 2.8), sharey=True, layout="constrained")
    for axes, (key, (values, times)) in zip(panels, results.items(), strict=True):
        axes.loglog(values, times, "o-")
        axes.set(xlabel=LABELS[key], title=f"last exponent {slope(values, times):.1f}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("ms a step")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    results: dict[str, tuple[list[int], list[float]]] = {}
    print("| size | ms a step | last exponent |\n|---|---|---|")
    for key, values in SWEEPS.items():
        times = [step_ms(replace(BASE, **{key: value}), arguments.repeats) for value in values]
        results[key] = [shown(key, value) for value in values], times
        cells = ", ".join(f"{value}: {ms:.1f}" for value, ms in zip(results[key][0], times, strict=True))
        print(f"| {LABELS[key]} | {cells} | {slope(*results[key]):.1f} |", flush=True)
    if arguments.figure:
        draw(arguments.figure, results)


if __name__ == "__main__":
    main()
