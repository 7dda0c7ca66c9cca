"""How well the confidence made without the truth ranks true leaks, from finished scans.

    python benchmarks/confidence.py CHECKPOINTS AUDIT [AUDIT ...]

AUDIT is the `--out` folder of a scan of CHECKPOINTS/NAME.safetensors; members come from CHECKPOINTS/NAME.images.npz.
A reconstruction is true when its best SSIM with a member exceeds the threshold.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from privaudit.matching import best_scores

TOPS = (10, 20)


def precision(is_true: np.ndarray, confidence: np.ndarray) -> list[str]:
    """Share that is true among the most confident, as `k of n`."""
    ranked = is_true[np.argsort(-confidence, kind="stable")]
    return [f"{int(ranked[:n].sum())} of {min(n, len(ranked))}" for n in (*TOPS, len(ranked))]


def main() -> None:
    """Print one row an audit and threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("audits", type=Path, nargs="+")
    arguments = parser.parse_args()
    print("| checkpoint | true when SSIM above | top 10 | top 20 | all |\n|---|---|---|---|---|")
    for audit in arguments.audits:
        result = json.loads((audit / "result.json").read_text())
        found = load_file(audit / "reconstructions.safetensors")
        name = Path(result["model"]["path"]).stem
        images = np.load(arguments.checkpoints / f"{name}.images.npz")["member_images"]
        members = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        ssim = best_scores(found["images"].float(), members).ssim
        for threshold in (0.4, result["evidence"]["calibrated_threshold"]["ssim"]):
            cells = precision(ssim > threshold, found["confidence"].numpy())
            print(f"| {name} | {threshold:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
