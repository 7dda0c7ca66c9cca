"""What an engine is: it runs jobs, each in a process of its own, several at a time, and tells of each how it ended.

In: jobs as Python modules with arguments that name files. Out: one `JobEnd` a job. Must not know what a job computes:
whatever it takes and gives lies in files that it names, so that an engine on other machines needs a shared folder and
nothing else. A job that dies takes no other job with it.

Another engine is another `AbstractEngine`. One for Ray would submit a task a job whose body runs `job.command` in a
fresh interpreter, as `LocalEngine` does, with `job.threads` as its CPUs and `job.memory_bytes` as its memory, and turn
the death of a worker into `failed`. A scan's restarts can be jobs in the same way.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

JobStatus = Literal["finished", "failed", "interrupted"]


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        name: unique among the jobs of one run; for messages.
        module: the Python module to run, as `python -m` does; `arguments` what it is given.
        log: file for what it prints, both streams.
        threads: that it may compute with, at least 1.
        memory_bytes: that it is expected to take; 0 where nothing is known.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    threads: int = 1
    memory_bytes: int = 0


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        job: which one.
        status: `finished`, exit code 0; `failed`, any other end of its own or of the system's; `interrupted`, ended or
            never started because the engine was told to stop.
        reason: one line; empty where it finished.
        exit_code: of the process, negative for a signal; None where it was never started or the engine cannot tell.
        seconds: that it ran.
    """

    job: Job
    status: JobStatus
    reason: str = ""
    exit_code: int | None = None
    seconds: float = 0.0


class AbstractEngine(ABC):
    """Runs jobs. An instance may be used again, not from two threads at once."""

    name: ClassVar[str]
    """As `--engine` would spell it."""

    @abstractmethod
    def run(
        self, jobs: Sequence[Job], on_start: Callable[[Job], None], on_end: Callable[[JobEnd], None]
    ) -> tuple[JobEnd, ...]:
        """Run every job, in this order as far as places are free.

        A `KeyboardInterrupt` in the calling process, also from a callback, ends what runs, starts nothing more, and is
        not raised again: jobs that it hit are told of as `interrupted`.

        Args:
            jobs: with distinct names.
            on_start: told when a job begins, in the calling thread.
            on_end: told when a job that was started has ended, in the calling thread, before another one begins in its
                place: what it writes is there whatever happens later.

        Returns:
            One end a job, in the order of `jobs`.

        Raises:
            ValueError: two jobs of one name.
            OutputError: a log cannot be written.
        """
