"""Where settings are read from: the `privaudit.toml` beside a model or above it, and the environment.

In: a path or the environment, and the valid keys. Out: values by key, not yet checked for their kind, which
`privaudit.config` does. Never runs code: a file or a variable that names some is refused, and so is a file that would
switch off what makes a verdict count.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from privaudit.errors import ConfigError

FILE_NAME = "privaudit.toml"
ENVIRONMENT_PREFIX = "PRIVAUDIT_"
_LIBRARIES = ("torchvision", "timm")  # as in adapters/libraries.py, which is not imported here: it needs torch
_PATH_KEYS = ("reference", "control", "mean", "std", "out")
NOT_FROM_FILES = ("exit_zero", "instrument_check")
"""The file beside a checkpoint may come from whoever sent the checkpoint: it must not decide that failures pass."""


def find_file(model: Path, cwd: Path) -> Path | None:
    """The `privaudit.toml` beside the model, or else in the nearest folder above it."""
    # normpath, so that `a/../model` does not count `a` among the folders above; symbolic links stay, because "beside"
    # means beside the name that the user typed.
    place = Path(os.path.normpath(cwd.absolute() / model))
    folders = (place, *place.parents) if place.is_dir() else tuple(place.parents)
    return next((folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()), None)


def read_file(path: Path, keys: Sequence[str]) -> dict[str, object]:
    """The table `[scan]` of a `privaudit.toml`, relative paths made relative to its folder.

    Raises:
        ConfigError: unreadable, no TOML, an unknown table or key, an adapter that would run code, or a setting that
            only the command line and the environment may decide.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML in {path}, found: {error}; correct the file or remove it") from None
    for name in document:
        if name != "scan":
            raise ConfigError(f"expected only the table [scan] in {path}, found {name!r}; put settings under [scan]")
    table = document.get("scan", {})
    if not isinstance(table, dict):
        raise ConfigError(f"expected a table [scan] in {path}, found the value {table!r}")
    for name in table:
        _require_known(name, keys, f"{path}, table [scan]")
        _refuse_from_file(name, path)
    _refuse_code(table.get("adapter"), str(path))
    return {name: _anchored(name, value, path.parent) for name, value in table.items()}


def read_environment(environ: Mapping[str, str], keys: Sequence[str]) -> dict[str, object]:
    """Values of `PRIVAUDIT_*`. A name that is nearly a setting is a typing error; any other is someone else's.

    Raises:
        ConfigError: a name that is nearly a setting, or an adapter that would run code.
    """
    values: dict[str, object] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in keys:
            values[name] = text
        elif difflib.get_close_matches(name, keys, n=1, cutoff=0.8):
            _require_known(name, keys, f"the environment variable {variable}")
    _refuse_code(values.get("adapter"), "PRIVAUDIT_ADAPTER")
    return values


def _require_known(name: str, keys: Sequence[str], where: str) -> None:
    if name not in keys:
        nearest = difflib.get_close_matches(name.lower().replace("-", "_"), keys, n=1, cutoff=0.0)[0]
        raise ConfigError(f"expected a setting in {where}, found {name!r}; the nearest valid key is {nearest!r}")


def runs_code(adapter: str) -> bool:
    """Whether an adapter is a file of somebody's, rather than a name that privaudit or an installed library knows."""
    if adapter.endswith(".py"):
        return True
    library, colon, _ = adapter.partition(":")
    return bool(colon) and library not in _LIBRARIES


def _refuse_code(adapter: object, where: str) -> None:
    if isinstance(adapter, str) and runs_code(adapter):
        raise ConfigError(
            f"expected the name of an adapter in {where}, found {adapter!r}, which would run code; "
            "code runs only when --adapter names it on the command line"
        )


def _refuse_from_file(name: str, path: Path) -> None:
    if name in NOT_FROM_FILES:
        raise ConfigError(
            f"expected no {name} in {path}, which may have come with the model, found one; "
            f"set --{'' if name == 'exit_zero' else 'no-'}{name.replace('_', '-')} or "
            f"{ENVIRONMENT_PREFIX}{name.upper()} where you run the scan"
        )


def _anchored(name: str, value: object, folder: Path) -> object:
    """`value` of the setting `name` with a relative path in it resolved against `folder`."""
    if name not in _PATH_KEYS or not isinstance(value, str):
        return value
    is_numbers = re.fullmatch(r"[\d\s.,eE+-]+", value) is not None
    if (
        not value
        or value.startswith("torchvision:")
        or (name in ("mean", "std") and (is_numbers or value == "reference"))
    ):
        return value
    return str(folder / Path(value).expanduser())
