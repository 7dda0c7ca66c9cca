"""`privaudit doctor`: what this machine is, and whether the attack works on it.

In: nothing. Out: one `Check` each for versions, devices, memory, the cache folder and the two controls. Chromium or
other outside programs are not needed and not looked for.
"""

import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from privaudit.instrument import ControlCheck, cache_folder, run_controls
from privaudit.loading import choose_device
from privaudit.progress import ProgressListener

_MEMORY_NEEDED = 2.0  # GiB, peak of a scan of the published settings
_PYTHON_NEEDED = (3, 11)


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report.

    Attributes:
        name: what was checked.
        ok: whether it is as a scan needs it.
        detail: what was found, in one sentence.
    """

    name: str
    ok: bool
    detail: str


def run_doctor(listener: ProgressListener) -> tuple[Check, ...]:
    """Look at the machine, then run both controls of the instrument on the device that a scan would choose."""
    device = choose_device("auto")
    controls = run_controls(listener, device)
    return (
        Check("python", sys.version_info >= _PYTHON_NEEDED, platform.python_version()),
        _package("torch"),
        _package("torchvision"),
        Check("processor", True, f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {platform.machine()}"),
        Check("cuda", True, _cuda()),
        _memory(),
        _cache(cache_folder()),
        _control("positive control", controls.positive),
        _control("negative control", controls.negative),
    )


def _package(name: str) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False, f"not installed as a distribution; pip install {name}")


def _cuda() -> str:
    if not torch.cuda.is_available():
        return "no CUDA device; the processor is used"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{len(names)} device(s): {', '.join(names)}"


def _memory() -> Check:
    """Physical memory; a platform that does not tell is no failure."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return Check("memory", True, "size not told by this platform")
    return Check("memory", total >= _MEMORY_NEEDED, f"{total:.1f} GiB; a scan takes up to {_MEMORY_NEEDED:g} GiB")


def _cache(folder: Path | None) -> Check:
    """A cache that cannot be written costs seconds a scan and is no failure."""
    if folder is None:
        return Check("cache", True, "no home folder: the positive control is trained anew in every scan")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check("cache", True, str(folder))
    except OSError as error:
        reason = f"{folder} cannot be written ({error.strerror})"
        return Check(
            "cache", True, f"{reason}: the positive control is trained anew in every scan; set PRIVAUDIT_CACHE"
        )


def _control(name: str, control: ControlCheck) -> Check:
    status = control.status.replace("_", " ")
    return Check(name, control.status == "passed", f"{status}: {control.detail}")
