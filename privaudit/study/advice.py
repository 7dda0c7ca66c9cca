"""What changed a leak where it was measured: the table that reports carry, made from a study.

`python -m privaudit.study.advice STUDY.json` prints it; `--write FILE` writes it, which is how
`privaudit/report/data/measured.json` is made from `examples/study/study.json`. In: a `StudyRecord`. Out: sentences and
counts as they are printed. Imports no torch.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from privaudit.errors import ExitCode
from privaudit.study.pooling import LEAST_SEEDS, Pooled, Share
from privaudit.study.record import PointRecord, RowRecord, StudyRecord, read_record

_DIFFERENCE = {"below": "less is rebuilt", "": "no difference shown", "above": "more is rebuilt"}
"""By the direction of a separation; what lowers a leak comes first in the table."""


def measured(record: StudyRecord) -> dict[str, Any]:
    """The table as the report reads it.

    A row of the study enters where its baseline and another point have three finished seeds: with fewer, a difference
    may be one network's. The baseline must have a calibrated threshold. Rows of different data are left out: nobody
    trains on other images to lower a leak.

    Raises:
        ValueError: nothing in the study can be compared.
    """
    effects = [
        _effect(record, row, base, point)
        for row in record.rows
        if len({cell.fields["data"] for cell in record.cells if cell.row == row.name}) == 1
        for base in row.points
        if base.label == row.baseline and _is_firm(base.pooled)
        for point in row.points
        if point.label != row.baseline and _is_firm(point.pooled)
    ]
    if not effects:
        raise ValueError(f"expected two points of a row with {LEAST_SEEDS} finished seeds each, found none")
    return {
        "source": record.title,
        "size": record.size,
        "version": record.version,
        "measured": record.written[:10],
        "effects": sorted(effects, key=lambda effect: list(_DIFFERENCE.values()).index(effect["difference"])),
    }


def text(record: StudyRecord) -> str:
    """`measured.json`."""
    return json.dumps(measured(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _is_firm(pooled: Pooled) -> bool:
    return pooled.rebuilt is not None and len(pooled.rebuilt.by_seed) >= LEAST_SEEDS


def _effect(record: StudyRecord, row: RowRecord, base: PointRecord, point: PointRecord) -> dict[str, str]:
    separation = point.separation
    return {
        "change": point.label,
        "baseline": base.label,
        "network": _network(record, row, base),
        "rebuilt": _share(point.pooled.rebuilt),
        "rebuilt_before": _share(base.pooled.rebuilt),
        "readable": _share(point.pooled.readable),
        "readable_before": _share(base.pooled.readable),
        "accuracy": _accuracy(point.pooled),
        "accuracy_before": _accuracy(base.pooled),
        "difference": _DIFFERENCE[separation.direction if separation is not None else ""],
    }


def _network(record: StudyRecord, row: RowRecord, base: PointRecord) -> str:
    """What was trained on what, from the first cell of the baseline."""
    cell = record.cells_at(row.name, base.label)[0]
    fields, training = cell.fields, cell.training
    widths = "-".join(map(str, fields["hidden"]))
    kind = {"mlp": f"MLP {widths}", "convnet": f"convolution and MLP {widths}"}.get(
        fields["architecture"], "own network"
    )
    data = Path(str(fields["data"]).partition(":")[0]).stem if ".npz" in str(fields["data"]) else str(fields["data"])
    n_images = "" if training is None else f"{training.images} images of "
    classes = f"{fields['classes']} classes of " if fields["classes"] else ""
    return f"{kind}, {n_images}{classes}{data.lstrip('$')}"


def _share(share: Share | None) -> str:
    """`12 of 90 (13 %, 7-22 %)`."""
    if share is None:
        return "not measured"
    return f"{share.found} of {share.total} ({share.share:.0%}, {share.low:.0%} to {share.high:.0%})".replace("%", " %")


def _accuracy(pooled: Pooled) -> str:
    found = pooled.held_out_accuracy
    return "not measured" if found is None else f"{found.mean:.0%}".replace("%", " %")


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(
        prog="python -m privaudit.study.advice", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("study", type=Path, metavar="STUDY.json")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write it there instead")
    given = parser.parse_args(arguments)
    made = text(read_record(given.study))
    if given.write is None:
        sys.stdout.write(made)
    else:
        given.write.write_text(made, encoding="utf-8")
    return ExitCode.NO_LEAK_FOUND


if __name__ == "__main__":
    sys.exit(main())
