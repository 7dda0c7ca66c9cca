"""Whether a folder can be written, known before minutes of work rather than after."""

import tempfile
from pathlib import Path

from privaudit.errors import OutputError


def require_writable(out: Path) -> None:
    """Try to write to `out`, leaving nothing behind: neither a file nor a folder that was not there before.

    Raises:
        OutputError: it cannot be written.
    """
    made: list[Path] = []
    try:
        for folder in reversed((out, *out.parents)):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OutputError(
            f"expected a writable folder at {out}, found: {error.strerror}; choose another --out"
        ) from None
    finally:
        for folder in reversed(made):
            folder.rmdir()
