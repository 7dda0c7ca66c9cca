"""How a study goes on, for people, on stderr: a bar on a terminal, a line a cell everywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from privaudit.cli.console import LONGEST_LINE, is_interactive, say, stderr_console
from privaudit.cli.progress import clock_text
from privaudit.cli.signs import SIGNS, plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from privaudit.study.cells import Cell
    from privaudit.study.outcome import CellOutcome
    from privaudit.study.resources import Places
    from privaudit.study.run import StudyListener, StudyProgress


@contextmanager
def study_listener_for(is_quiet: bool, verbosity: int, is_plain: bool) -> Iterator["StudyListener"]:
    """The listener that fits the options and the terminal; its bar ends with the block."""
    if is_quiet:
        yield SilentStudy()
    elif is_plain or not is_interactive():
        yield LinesStudy(verbosity)
    else:
        listener = RichStudy()
        try:
            yield listener
        finally:
            listener.close()


@final
class SilentStudy:
    """Listens to nothing."""

    def planned(self, total: int, done: int, places: "Places") -> None:
        """Ignore."""

    def begun(self, cell: "Cell") -> None:
        """Ignore."""

    def ended(self, cell: "Cell", outcome: "CellOutcome", progress: "StudyProgress") -> None:
        """Ignore."""


@final
class LinesStudy:
    """A line a cell."""

    def __init__(self, verbosity: int = 0) -> None:
        self._verbosity = verbosity

    def planned(self, total: int, done: int, places: "Places") -> None:
        """Print it."""
        say(planned_text(total, done, places))

    def begun(self, cell: "Cell") -> None:
        """Print it when verbose."""
        if self._verbosity > 0:
            say(f"  begins: {cell_text(cell)}")

    def ended(self, cell: "Cell", outcome: "CellOutcome", progress: "StudyProgress") -> None:
        """Print it with what is left."""
        left = "" if not progress.seconds_left else f"; about {clock_text(progress.seconds_left)} left"
        say(f"  {ended_text(cell, outcome, progress)}{left}")


@final
class RichStudy:
    """One bar with cells done, failed and the time left; cells that ended scroll by above it."""

    def __init__(self) -> None:
        self._console = stderr_console()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._running: dict[str, str] = {}

    def planned(self, total: int, done: int, places: "Places") -> None:
        """Print it and open the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console.print(plain(planned_text(total, done, places), LONGEST_LINE))
        self._progress = Progress(
            TextColumn("  cells", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[running]}", markup=False),
            console=self._console,
        )
        self._bar = self._progress.add_task("cells", total=total, completed=done, left="", running="")
        self._progress.start()

    def begun(self, cell: "Cell") -> None:
        """Show what runs beside the bar."""
        self._running[cell.digest] = cell.row
        self._update()

    def ended(self, cell: "Cell", outcome: "CellOutcome", progress: "StudyProgress") -> None:
        """Print it above the bar and move the bar."""
        self._running.pop(cell.digest, None)
        self._console.print(plain(f"  {ended_text(cell, outcome, progress)}", LONGEST_LINE))
        left = "" if progress.seconds_left is None else f"about {clock_text(progress.seconds_left)} left"
        self._update(completed=progress.done, left=left)

    def close(self) -> None:
        """End the bar and give the terminal back."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._bar = None

    def _update(self, completed: int | None = None, left: str | None = None) -> None:
        if self._progress is None or self._bar is None:
            return
        if left is not None:
            self._progress.update(self._bar, left=left)
        self._progress.update(self._bar, completed=completed, running=plain(", ".join(self._running.values()), 60))


def planned_text(total: int, done: int, places: "Places") -> str:
    """What is to be done and how the machine is shared out."""
    before = f", {done} done before" if done else ""
    each = "1 thread" if places.threads == 1 else f"{places.threads} threads"
    return f"study: {total} cells{before}, {places.n_parallel} at a time with {each} each ({places.reason})"


def cell_text(cell: "Cell") -> str:
    """Where a cell belongs."""
    return f"{cell.row}, {cell.point}, seed {cell.seed}"


def ended_text(cell: "Cell", outcome: "CellOutcome", progress: "StudyProgress") -> str:
    """How a cell ended, in one line."""
    place = f"[{progress.done}/{progress.total}] {cell_text(cell)}"
    counts = outcome.counts
    if counts is None:
        return f"{SIGNS['failed']} {place}: failed: {outcome.reason}"
    rebuilt = f"{counts.members_leaked} of {counts.members} rebuilt"
    if counts.ssim_threshold is None:
        rebuilt = "no threshold" if counts.reconstructions else "nothing reconstructed"
    accuracy = None if outcome.training is None else outcome.training.held_out_accuracy
    told = "" if accuracy is None else f", held-out accuracy {accuracy:.0%}"
    return f"{SIGNS['passed']} {place}: {rebuilt}{told}, {outcome.seconds:.0f} s"
