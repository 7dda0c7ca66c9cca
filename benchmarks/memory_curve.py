"""Peak memory and time of a step against the number of candidates, in chunks and all at once.

    python benchmarks/memory_curve.py [--figure docs/memory.svg] [--rank 50]

Each row is a process of its own on a random 3072-1000-1000-10 network: peak resident memory (`ru_maxrss`) after three
steps less that before the first variables were drawn. "All at once" stops where it would pass `--most` MiB.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from random_problem import Size, equation

from privaudit.solver import SolverSettings, minimise

COUNTS = (500, 1500, 5000, 15000, 50000)
STEPS = 3
MIB_A_CANDIDATE = 0.1  # of the graph all at once, measured; keeps the rows that would not fit out


def peak_mib() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(m: int, rank: int, in_chunks: bool) -> dict[str, float]:
    """In this process."""
    problem = equation(Size(n=rank), m, None if in_chunks else 2**62)
    before = peak_mib()
    start = problem.start(1, torch.Generator().manual_seed(0))
    begun = time.perf_counter()
    minimise(problem, start, SolverSettings(STEPS))
    seconds = (time.perf_counter() - begun) / STEPS
    return {"mib": peak_mib() - before, "seconds": seconds, "candidates_mib": m * (rank + 10) * 4 / 2**20}


def measured(m: int, rank: int, in_chunks: bool) -> dict[str, float]:
    """In a process of its own."""
    command = [sys.executable, __file__, "--child", str(m), str(int(in_chunks)), "--rank", str(rank)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def draw(path: Path, chunks: dict[int, float], whole: dict[int, float], candidates: dict[int, float]) -> None:
    """Both curves on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "privaudit"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    for values, label, style in (
        (whole, "all at once", "s--"),
        (chunks, "in chunks", "o-"),
        (candidates, "the candidates themselves", ":"),
    ):
        axes.loglog(list(values), list(values.values()), style, label=label)
    axes.set(xlabel="candidates", ylabel="peak memory of a step, MiB")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=50, help="of the span")
    parser.add_argument("--most", type=float, default=2000.0, help="MiB that 'all at once' may take")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child[0], arguments.rank, bool(arguments.child[1]))))
        return
    print(f"rank {arguments.rank}\n\n| candidates | themselves, MiB | in chunks, MiB | ms a step | all at once, MiB "
          "| ms a step |\n|---|---|---|---|---|---|")  # fmt: skip
    chunks, whole, candidates = {}, {}, {}
    for m in COUNTS:
        own = measured(m, arguments.rank, True)
        chunks[m], candidates[m] = own["mib"], own["candidates_mib"]
        other = measured(m, arguments.rank, False) if m * MIB_A_CANDIDATE < arguments.most else None
        cells = "– | –"
        if other is not None:
            whole[m], cells = other["mib"], f"{other['mib']:.0f} | {1e3 * other['seconds']:.0f}"
        print(f"| {m:,} | {candidates[m]:.1f} | {own['mib']:.0f} | {1e3 * own['seconds']:.0f} | {cells} |", flush=True)
    if arguments.figure:
        draw(arguments.figure, chunks, whole, candidates)


if __name__ == "__main__":
    main()
