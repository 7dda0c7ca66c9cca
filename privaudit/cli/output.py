"""The output folder of a command: that it can be written, known before minutes of work, and that no other one writes.

In: a folder. Out: the right to write there, or an `OutputError` of one line.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from privaudit.errors import OutputError

LOCK_FILE = ".privaudit.lock"


@contextmanager
def sole_use(out: Path) -> Iterator[None]:
    """Nobody else writes to `out` meanwhile, as far as they are privaudit.

    The lock is the operating system's on a file in `out`. It ends with the process, however that ends, so that a lock
    left behind by a killed one keeps nobody out. Where nothing was written, nothing is left, not even folders that were
    not there before.

    Raises:
        OutputError: `out` cannot be written, or another process is at work in it.
    """
    made: list[Path] = []
    try:
        with _made_writable(out, made), _locked(out):
            yield
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # something is in it
                folder.rmdir()


@contextmanager
def _made_writable(out: Path, made: list[Path]) -> Iterator[None]:
    try:
        for folder in reversed((out, *out.parents)):
            if not folder.exists():
                folder.mkdir(mode=0o700 if folder == out else 0o777)  # rebuilt images are the owner's
                made.append(folder)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OutputError(
            f"expected a writable folder at {out}, found: {error.strerror}; choose another --out"
        ) from None
    yield


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / LOCK_FILE, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"expected no other privaudit at work in {out}, found one; wait for it or choose another --out"
        ) from None
    except NotImplementedError:  # some network file systems have no locks: as before there were any
        yield
        return
    except OSError as error:
        raise OutputError(f"expected to lock {out}, found: {error.strerror}; choose another --out") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # where an open file cannot be removed, it stays and locks nothing
            (out / LOCK_FILE).unlink()
        lock.release()
