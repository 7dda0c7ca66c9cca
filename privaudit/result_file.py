"""Reading and writing `result.json`: sealed by a sha256 of its contents, whole or not at all, for the owner only.

Files of every version 1.x are read. Fields that a newer minor version added are left out of what is returned; the
sha256 covers them all the same.
"""

import copy
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from privaudit.errors import OutputError, ResultError
from privaudit.result import SCHEMA_VERSION, AuditResult
from privaudit.text import one_line

_LARGEST_BYTES = 1 << 28
"""Of a result: room for half a million records; what is larger is none."""

_MAJOR, _MINOR = (int(part) for part in SCHEMA_VERSION.split("."))


def _version(text: object) -> tuple[int, int] | None:
    """`"1"` to (1, 0), `"1.2"` to (1, 2); None for anything else."""
    match = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?", text, re.ASCII) if isinstance(text, str) else None
    return None if match is None else (int(match[1]), int(match[2] or 0))


def _canonical(document: dict[str, Any]) -> bytes:
    body = {key: value for key, value in document.items() if key != "self_sha256"}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def digest(result: AuditResult) -> str:
    """sha256 over the canonical JSON of everything but `self_sha256`, hexadecimal."""
    return _digest(result.model_dump(mode="json"))


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(document)).hexdigest()


def sealed(result: AuditResult) -> AuditResult:
    """The same result with `self_sha256` filled in."""
    return result.model_copy(update={"self_sha256": digest(result)})


def to_json(result: AuditResult) -> str:
    """`result.json` as text, ending in a newline."""
    return json.dumps(sealed(result).model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _read(path: Path) -> bytes:
    """The whole file, once: what is hashed is what is parsed, whatever happens to the file meanwhile."""
    with path.open("rb") as stream:
        data = stream.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"more than {_LARGEST_BYTES} bytes")
    return data


def _parse(data: bytes) -> Any:
    """Strict JSON in UTF-8: no NaN, no name twice in one object, nothing that cannot be written again.

    Raises:
        ValueError: anything else.
        RecursionError: nested too deeply.
    """
    document = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct_names)
    # Refuses numbers such as 1e999, which parse as infinite, and lone surrogates, which hide in escapes.
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode("utf-8")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")


def _distinct_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        every = [name for name, _ in pairs]
        twice = next(name for name in names if every.count(name) > 1)
        raise ValueError(f"the name {twice!a} twice in one object")
    return names


def read_result(path: Path) -> AuditResult:
    """Read and check a `result.json`.

    Raises:
        ResultError: missing, no JSON, another schema version, fields missing or unknown, or edited after the scan.
    """
    try:
        document = _parse(_read(path))
    except FileNotFoundError:
        raise ResultError(f"expected a result.json at {path}, found no such file; name the file a scan wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"expected JSON in {path}, found: {one_line(error)}; scan again to write it anew") from None
    found = document.get("schema_version") if isinstance(document, dict) else type(document).__name__
    version = _version(found)
    if version is None or version[0] != _MAJOR:
        raise ResultError(
            f"expected schema_version {SCHEMA_VERSION!r} or another 1.x in {path}, found {one_line(repr(found), 80)}; "
            "use the privaudit version that wrote it, or scan again"
        )
    try:
        result = _validated(document, is_newer=version[1] > _MINOR)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"expected a valid field {where} in {path}, found: {first['msg']}; scan again") from None
    # The document's own contents: fields that a later version added with a default are not in it.
    if result.self_sha256 != _digest(document):
        raise ResultError(f"expected the sha256 in {path} to match its contents, found it edited; scan again")
    return result


def _validated(document: dict[str, Any], is_newer: bool) -> AuditResult:
    """The result that a document holds; what a newer minor version added is left out, otherwise it is an error."""
    try:
        return AuditResult.model_validate(document)
    except ValidationError as error:
        unknown = [found["loc"] for found in error.errors() if found["type"] == "extra_forbidden"]
        if not is_newer or not unknown:
            raise
    known = copy.deepcopy(document)
    for location in unknown:
        holder: Any = known
        for part in location[:-1]:
            holder = holder[part]
        del holder[location[-1]]
    return AuditResult.model_validate(known)


def write_private(path: Path, data: bytes) -> None:
    """Write whole or not at all, readable by the owner only (these files hold personal data).

    Raises:
        OutputError: the directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"expected a writable directory at {path.parent}, found: {error.strerror}; choose another --out"
        ) from None
