"""The digest of a cell: two cells with the same one come out the same, so that one of them need not run.

In: a recipe and a scan's settings. Out: hexadecimal digits. Reads files that a recipe names, to tell their contents;
must not know grids.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from privaudit import __version__
from privaudit.errors import DataError
from privaudit.study.recipe import SHIPPED, Recipe

DIGITS = 16
_CHUNK = 1 << 20


def cell_digest(recipe: Recipe, scan: Mapping[str, Any]) -> str:
    """sha256 over the version, every setting and the contents of named files, its first 16 digits.

    Paths do not count, contents do: data that were moved are the same data. Of a folder of images names and sizes are
    taken for its contents. What else may change an outcome, the machine and its libraries, is recorded and not counted.

    Raises:
        DataError: a file or folder that is named and cannot be read.
    """
    code = {
        name: _code_digest(value)
        for name in ("architecture", "loss")
        if (value := getattr(recipe, name)) in recipe.code
    }
    document = {
        "version": __version__,
        "train": {**recipe.model_dump(mode="json"), **code, "data": _source_digest(recipe.data)},
        "scan": dict(sorted(scan.items())),
    }
    if "adapter" in scan and str(scan["adapter"]).rpartition(":")[0].endswith(".py"):
        document["adapter"] = _code_digest(str(scan["adapter"]))
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:DIGITS]


def _code_digest(value: str) -> str:
    file, _, function = value.rpartition(":")
    return f"{_file_digest(Path(file))}:{function}"


def _source_digest(source: str) -> str:
    """Names stay names; of files and folders it is what is in them."""
    if source in SHIPPED or source.startswith("torchvision:"):
        return source
    path, prefix = Path(source), ""
    if not path.exists():
        file, _, prefix = source.rpartition(":")
        path = Path(file) if file else path
    return f"{_file_digest(path)}:{prefix}"


@lru_cache(maxsize=64)
def _file_digest(path: Path) -> str:
    """sha256 of a file, or of the names and sizes in a folder."""
    whole = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    whole.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\n".encode())
        else:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    whole.update(chunk)
    except OSError as error:
        raise DataError(
            f"expected a file or folder at {path}, found: {error.strerror}; correct the grid's path or give --data"
        ) from None
    return whole.hexdigest()
