"""Jobs as processes of this machine.

In: jobs, how many at a time. Out: one `JobEnd` a job. Must not know what they compute.

Processes rather than threads or a pool: what a job does to memory, to torch's thread count or to the interpreter ends
with it, and one that the system kills is a failed job among others that go on.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, final

from privaudit.engines.interface import AbstractEngine, Job, JobEnd, JobStatus
from privaudit.errors import OutputError
from privaudit.text import one_line

_POLL_S = 0.1
_GRACE_S = 10.0
"""Seconds between asking a process to end and ending it."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LOG_END_BYTES = 4096
_BY_REQUEST = "ended by request"


@dataclass
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    started: float


@final
class LocalEngine(AbstractEngine):
    """At most `n_parallel` processes at a time."""

    name: ClassVar[str] = "local"

    def __init__(self, n_parallel: int, grace_s: float = _GRACE_S) -> None:
        if n_parallel < 1:
            raise ValueError(f"expected at least one process at a time, found {n_parallel}")
        self._n_parallel = n_parallel
        self._grace_s = grace_s

    def run(
        self, jobs: Sequence[Job], on_start: Callable[[Job], None], on_end: Callable[[JobEnd], None]
    ) -> tuple[JobEnd, ...]:
        """See `AbstractEngine.run`."""
        if len({job.name for job in jobs}) < len(jobs):
            raise ValueError("expected jobs with distinct names, found a name twice")
        ends: dict[str, JobEnd] = {}
        running: list[_Running] = []
        waiting = list(jobs)
        try:
            with _termination_as_interrupt():
                while waiting or running:
                    while waiting and len(running) < self._n_parallel:
                        running.append(_start(waiting[0]))
                        on_start(waiting.pop(0))
                    _collect(running, ends, on_end)
                    if running:
                        time.sleep(_POLL_S)
        except KeyboardInterrupt:
            pass  # told of as `interrupted` below
        finally:
            _end(running, self._grace_s)
        for left in running:  # those that could not be ended before they had finished have finished
            is_done = left.process.returncode == 0
            ends[left.job.name] = _ended(left, "finished", "") if is_done else _ended(left, "interrupted", _BY_REQUEST)
            on_end(ends[left.job.name])
        return tuple(ends.get(job.name) or JobEnd(job, "interrupted", "not started") for job in jobs)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Within this block SIGTERM raises `KeyboardInterrupt`, as Ctrl-C does, where this thread may decide that."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start(job: Job) -> _Running:
    """Begin a process in a session of its own: Ctrl-C reaches the engine alone, which then ends its jobs in order.

    Its standard input stays open as long as this process lives; a job that reads it learns of this process's death.
    """
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(job.threads)), "PYTHONUNBUFFERED": "1"}
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise OutputError(
            f"expected a writable folder at {job.log.parent}, found: {error.strerror}; choose another --out"
        ) from None
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", job.module, *job.arguments],
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(handle)
    return _Running(job, process, time.monotonic())


def _collect(running: list[_Running], ends: dict[str, JobEnd], on_end: Callable[[JobEnd], None]) -> None:
    """Take what has ended out of `running` and tell of it."""
    for one in [one for one in running if one.process.poll() is not None]:
        running.remove(one)
        _close(one)
        code = one.process.returncode
        end = _ended(one, "failed", _why(code, one.job)) if code else _ended(one, "finished", "")
        ends[one.job.name] = end
        on_end(end)


def _ended(one: _Running, status: JobStatus, reason: str) -> JobEnd:
    return JobEnd(one.job, status, reason, one.process.returncode, time.monotonic() - one.started)


def _why(code: int, job: Job) -> str:
    """One line for an exit code that is not 0."""
    if code < 0:
        hint = ", which the system sends when memory runs out" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"killed by signal {-code}{_signal_name(-code)}{hint}"
    said = _last_line(job)
    return f"exit code {code}" + (f": {said}" if said else "")


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""


def _last_line(job: Job) -> str:
    """The last thing that a job printed, which of an error is the error."""
    try:
        with job.log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _LOG_END_BYTES))
            lines = stream.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return one_line(next((line for line in reversed(lines) if line.strip()), ""), 400)


def _end(running: Sequence[_Running], grace_s: float) -> None:
    """Ask every process to end, and end those that do not."""
    for one in running:
        if one.process.poll() is None:
            one.process.terminate()
    deadline = time.monotonic() + grace_s
    for one in running:
        try:
            one.process.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # who asks twice does not want to wait
            deadline = 0.0
            one.process.kill()
            one.process.wait()
        _close(one)


def _close(one: _Running) -> None:
    if one.process.stdin is not None:
        one.process.stdin.close()
