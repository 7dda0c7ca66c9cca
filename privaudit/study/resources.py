"""How many cells run at a time, and with how many threads each.

In: cells and what `--jobs` says. Out: how this machine is shared out. Must not know what a cell computes beyond the
size of its network and of its data.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from privaudit.errors import ConfigError
from privaudit.memory import available_memory
from privaudit.study.cells import Cell
from privaudit.study.recipe import Recipe

_MIB = 1 << 20
_PROCESS = 750 * _MIB
"""Of an interpreter with torch and a data set; the smallest scan of `benchmarks/RESULTS.md` takes 959 MiB."""

_A_PARAMETER = 64
"""Bytes: weights, gradients and the histories of L-BFGS and of the attack."""

_AN_IMAGE = 2 * _MIB
"""Of the training set: 50 images take 1131 MiB and 500 take 2046 MiB in `benchmarks/RESULTS.md`."""

_MARGIN = 1.25
_PIXELS = {"digits": 64, "faces": 625, "MNIST": 784, "FashionMNIST": 784, "KMNIST": 784}
_COLOUR_PIXELS = 3 * 32 * 32
_MOST_GPU_CELLS = 4
"""Cells at a time on one accelerator, which more of them only make wait."""


@dataclass(frozen=True)
class Places:
    """How the machine is shared out: `n_parallel` cells at a time, `threads` each; `reason` in words."""

    n_parallel: int
    threads: int
    reason: str


def memory_of(recipe: Recipe) -> int:
    """Bytes that a cell is expected to take, rather too many."""
    n_pixels = next((pixels for name, pixels in _PIXELS.items() if recipe.data.endswith(name)), _COLOUR_PIXELS)
    n_classes = recipe.classes or 10
    n_images = n_classes * (recipe.images_per_class or 50)
    widths = [n_pixels * (recipe.channels[-1] // 3 or 1) if recipe.architecture == "convnet" else n_pixels]
    widths += [*recipe.hidden, n_classes]
    n_parameters = sum(one * other for one, other in pairwise(widths))
    return int(_MARGIN * (_PROCESS + _A_PARAMETER * n_parameters + _AN_IMAGE * n_images))


def places_for(cells: Sequence[Cell], jobs: str, gpu_bytes: int | None = None) -> Places:
    """Share the machine out.

    Args:
        cells: to be run.
        jobs: `auto`, or how many at a time.
        gpu_bytes: free memory of the accelerator that cells will use; None where they use none.

    Raises:
        ConfigError: `jobs` is neither.
    """
    cores = n_cores()
    if jobs != "auto":
        if not jobs.isdecimal() or int(jobs) < 1:
            raise ConfigError(f"expected --jobs as auto or a number of at least 1, found {jobs!r}")
        n_parallel = min(int(jobs), max(1, len(cells)))
        return Places(n_parallel, max(1, cores // n_parallel), "as asked")
    largest = max((memory_of(cell.recipe) for cell in cells), default=_PROCESS)
    limits = {"cells": max(1, len(cells)), "cores": cores}
    free = available_memory()
    if free is not None:
        limits["memory"] = max(1, free // largest)
    if gpu_bytes is not None:
        limits["memory of the accelerator"] = max(1, min(_MOST_GPU_CELLS, gpu_bytes // largest))
    name, n_parallel = min(limits.items(), key=lambda pair: pair[1])
    return Places(n_parallel, max(1, cores // n_parallel), f"limited by {name}")


def n_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_memory(device: str) -> int | None:
    """Free bytes of the accelerator that a scan on `device` uses; None where it uses none. Loads torch."""
    if device == "cpu":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
