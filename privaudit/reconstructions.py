"""What the attack hands on: images with where each came from and how much the attack itself trusts it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reconstructions:
    """M images rebuilt from a checkpoint.

    Attributes:
        pixels: (M, C, H, W) float32, nominally in [0, 1], not clipped.
        multipliers: (M, K) float32, zeros for objectives without them.
        restart: (M,) int64, counted over the whole attack.
        objective: (M,) int64 index into `objectives`.
        objectives: registry names.
        confidence: (M,) float32 in [0, 1], made without any training image: the share of the other restarts that found
            the same image (METHOD 3d); 0 where there was only one.
        found_after_s: (M,) float32, seconds of attack after which it was there.
    """

    pixels: Tensor
    multipliers: Tensor
    restart: Tensor
    objective: Tensor
    objectives: tuple[str, ...]
    confidence: Tensor
    found_after_s: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


def united(parts: list[Reconstructions], shape: tuple[int, int, int], n_outputs: int) -> Reconstructions:
    """All of `parts` in order; empty where there are none."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.objectives))
    if not parts:
        none, whole = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        return Reconstructions(torch.zeros(0, *shape), torch.zeros(0, n_outputs), whole, whole, (), none, none)
    objective = [torch.tensor([names.index(name) for name in part.objectives])[part.objective] for part in parts]
    return Reconstructions(
        torch.cat([part.pixels for part in parts]),
        torch.cat([part.multipliers for part in parts]),
        torch.cat([part.restart for part in parts]),
        torch.cat(objective),
        names,
        torch.cat([part.confidence for part in parts]),
        torch.cat([part.found_after_s for part in parts]),
    )
