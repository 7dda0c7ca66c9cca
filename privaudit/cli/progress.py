"""Progress for people, on stderr: bars on a terminal, now and then a line elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from privaudit.cli.console import LONGEST_LINE, is_interactive, say, stderr_console
from privaudit.cli.signs import plain
from privaudit.progress import ProgressListener, SilentListener, TrialProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 15.0

_NAME_LENGTH = 40
_BAR_ALONE, _BAR_SHORT = 60, 90
"""Columns under which a bar has neither loss nor restarts beside it, and under which it is short."""


@contextmanager
def listener_for(is_quiet: bool, verbosity: int, is_plain: bool) -> Iterator[ProgressListener]:
    """The listener that fits the options and the terminal; its bars end with the block, also after an error."""
    if is_quiet:
        yield SilentListener()
    elif is_plain or not is_interactive():
        yield LinesListener(verbosity)
    else:
        listener = RichListener(verbosity)
        try:
            yield listener
        finally:
            listener.close()


@final
class LinesListener:
    """Plain lines: each stage and note, and of the attack's reports one every `SECONDS_BETWEEN_LINES`."""

    def __init__(
        self, verbosity: int = 0, clock: Callable[[], float] = time.monotonic, say: Callable[[str], None] = say
    ) -> None:
        self._verbosity = verbosity
        self._clock = clock
        self._say = say
        self._start = clock()
        self._next = -math.inf

    def stage(self, name: str, message: str) -> None:
        """Print it, with the seconds since the start when verbose."""
        self._say(_stage_text(name, message, self._verbosity, self._clock() - self._start))

    def trial(self, progress: TrialProgress) -> None:
        """Print it if the last line was long ago."""
        now = self._clock()
        if now >= self._next:
            self._next = now + SECONDS_BETWEEN_LINES
            self._say(
                f"  {progress.objective}: {progress.done:.0%}, loss {_number(progress.loss)}, "
                f"{_restarts(progress, ', ')}{clock_text(progress.seconds_left)} left"
            )

    def note(self, message: str) -> None:
        """Print it."""
        self._say(f"note: {message}")


@final
class RichListener:
    """One bar an objective, with loss, restarts done and time left; stages and notes scroll by above the bars."""

    def __init__(self, verbosity: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._verbosity = verbosity
        self._clock = clock
        self._start = clock()
        self._console = stderr_console()
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}

    def stage(self, name: str, message: str) -> None:
        """End the bars of the stage before and print this one."""
        self.close()
        text = _stage_text(name, message, self._verbosity, self._clock() - self._start)
        self._console.print(plain(text, LONGEST_LINE))

    def trial(self, progress: TrialProgress) -> None:
        """Move the bar of this objective."""
        bars = self._progress or self._open()
        if progress.objective not in self._bars:
            name = plain(progress.objective, _NAME_LENGTH)
            self._bars[progress.objective] = bars.add_task(name, total=1.0, loss="", restarts="", left="")
        bars.update(
            self._bars[progress.objective],
            completed=progress.done,
            loss=plain(_number(progress.loss), _NAME_LENGTH),
            restarts=_restarts(progress),
            left=plain(clock_text(progress.seconds_left), _NAME_LENGTH),
        )

    def note(self, message: str) -> None:
        """Print it above the bars."""
        self._console.print(plain(f"note: {message}", LONGEST_LINE))

    def close(self) -> None:
        """End the bars and give the terminal back."""
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._bars = None, {}

    def _open(self) -> "Progress":
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        texts = ["loss {task.fields[loss]}", "{task.fields[restarts]}", "{task.fields[left]} left"]
        width = self._console.width
        self._progress = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24 if width >= _BAR_SHORT else 10),
            TaskProgressColumn(),
            *(TextColumn(text, markup=False) for text in texts[0 if width >= _BAR_ALONE else -1 :]),
            console=self._console,
        )
        self._progress.start()
        return self._progress


def clock_text(seconds: float) -> str:
    """`75.2` to `1:15`; `–` for what is not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _stage_text(name: str, message: str, verbosity: int, seconds: float) -> str:
    return f"{name}: {message}" + (f" ({seconds:.1f} s)" if verbosity > 0 else "")


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"


def _restarts(progress: TrialProgress, end: str = "") -> str:
    """Nothing for what has none, as training."""
    if not progress.restarts_total:
        return ""
    return f"{progress.restarts_done}/{progress.restarts_total} restarts{end}"
