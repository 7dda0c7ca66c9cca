"""`reconstructions.safetensors`: the images behind a result, for the report and for whoever wants to check them."""

import numpy as np
import torch
from safetensors.torch import save

from privaudit.loading import Loaded
from privaudit.matching import MatchTable
from privaudit.reconstructions import Reconstructions
from privaudit.result import AuditResult

_RECORDS = 500  # records whose training image is stored, best first; the report shows fewer


def pictures_bytes(result: AuditResult, loaded: Loaded, found: Reconstructions, table: MatchTable | None) -> bytes:
    """The file's bytes; its metadata name the checkpoint that the images belong to."""
    tensors = {
        "images": found.pixels,
        "multipliers": found.multipliers,
        "restart": found.restart,
        "objective": found.objective,
        "confidence": found.confidence,
        "found_after_s": found.found_after_s,
        "best_match": _best_match(result, len(found)),
        "label": _labels(found.multipliers),
    }
    if loaded.reference is not None and table is not None and table.nearest_control is not None and loaded.control:
        order = np.argsort(-table.members.ssim, kind="stable")[:_RECORDS]
        index = torch.from_numpy(np.sort(order)).long()
        nearest = torch.from_numpy(table.nearest_control)[index]
        tensors["record_index"] = index
        tensors["record_images"] = _bytes(loaded.reference.pixels[index])
        tensors["control_images"] = _bytes(loaded.control.pixels[nearest])
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    return save(contiguous, metadata={"model_sha256": result.model.sha256})


def _labels(multipliers: torch.Tensor) -> torch.Tensor:
    """(M,) labels that the multipliers recover: the largest of a candidate sits at its label (Buzaglo et al. 2023).

    With one output the sign, as -1 and 1; -2 where an objective has no multipliers.
    """
    single = multipliers.shape[1:] == (1,)
    labels = multipliers[:, 0].sign().long() if single else multipliers.argmax(1)
    return torch.where(multipliers.abs().sum(1) > 0, labels, -2)


def _best_match(result: AuditResult, n: int) -> torch.Tensor:
    """(n,) index of the record that each reconstruction is the best match of; -1 for none."""
    best = torch.full((n,), -1, dtype=torch.int64)
    if result.evidence is not None:
        records = result.evidence.records
        for index in sorted(range(len(records)), key=lambda i: records[i].ssim):
            if records[index].reconstruction >= 0:
                best[records[index].reconstruction] = index
    return best


def _bytes(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
