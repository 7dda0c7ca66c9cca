"""How much memory this process can have.

Out: bytes, or None where nobody tells.
"""

from pathlib import Path


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, also within a container's limit; None where nobody tells."""
    found = [_meminfo(root / "proc/meminfo"), _cgroup(root / "sys/fs/cgroup")]
    known = [value for value in found if value is not None]
    return min(known) if known else None


def _meminfo(path: Path) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _cgroup(folder: Path) -> int | None:
    """Of the second version; `max` is no limit."""
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        return max(0, limit - int((folder / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return None
