"""How long-running stages tell a listener where they are, and the listeners that need no terminal."""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TextIO, final


@dataclass(frozen=True)
class TrialProgress:
    """One report from the attack.

    Attributes:
        objective: registry name of the objective that runs, or `train`.
        done: share of this objective's planned work that is finished, in [0, 1].
        loss: current loss (mean over what runs side by side).
        restarts_done: finished restarts, and `restarts_total` planned ones; 0 where there are none, as in training.
        seconds_left: estimate from the time limit and the work left.
    """

    objective: str
    done: float
    loss: float
    restarts_done: int
    restarts_total: int
    seconds_left: float


class ProgressListener(Protocol):
    """Receives events; must return quickly and must not raise."""

    def stage(self, name: str, message: str) -> None:
        """A stage begins (`load`, `preflight`, `membership`, `attack`, `match`, `report`)."""

    def trial(self, progress: TrialProgress) -> None:
        """The attack moved on."""

    def note(self, message: str) -> None:
        """Something the user should know (an assumption, a warning)."""


@final
class SilentListener:
    """Listens to nothing."""

    def stage(self, name: str, message: str) -> None:
        """Ignore."""

    def trial(self, progress: TrialProgress) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""


@final
class Tee:
    """Tells every listener what it hears, in order."""

    def __init__(self, *listeners: ProgressListener) -> None:
        self._listeners = listeners

    def stage(self, name: str, message: str) -> None:
        """Pass on."""
        for listener in self._listeners:
            listener.stage(name, message)

    def trial(self, progress: TrialProgress) -> None:
        """Pass on."""
        for listener in self._listeners:
            listener.trial(progress)

    def note(self, message: str) -> None:
        """Pass on."""
        for listener in self._listeners:
            listener.note(message)


# Before these stages the input may still be refused, and a refused input leaves no file behind.
_STAGES_WITH_OUTPUT = frozenset({"attack", "match", "report"})


@final
class JsonLinesListener:
    """Writes `progress.jsonl`: one JSON object an event, flushed, readable by the owner only.

    Events: `{"seconds": 1.25, "event": "stage" | "trial" | "note", …}` with the fields of the call; `seconds` since the
    listener was made, a number that is not finite becomes null. What happens before the attack is held back until it
    begins. A file that cannot be written is given up silently: progress must never end a scan.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._start = clock()
        self._held: list[str] = []
        self._stream: TextIO | None = None
        self._is_given_up = False

    def __enter__(self) -> "JsonLinesListener":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stage(self, name: str, message: str) -> None:
        """Record it."""
        self._record({"event": "stage", "name": name, "message": message}, opens=name in _STAGES_WITH_OUTPUT)

    def trial(self, progress: TrialProgress) -> None:
        """Record it."""
        self._record({"event": "trial", **asdict(progress)}, opens=True)

    def note(self, message: str) -> None:
        """Record it."""
        self._record({"event": "note", "message": message}, opens=False)

    def close(self) -> None:
        """Close the file, if one was opened."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._is_given_up = True

    def _record(self, event: dict[str, object], opens: bool) -> None:
        if self._is_given_up:
            return
        timed: dict[str, object] = {"seconds": round(self._clock() - self._start, 3), **event}
        finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in timed.items()}
        self._held.append(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")
        try:
            if self._stream is None and opens:
                self._stream = _open_private(self._path)
            if self._stream is not None:
                self._stream.writelines(self._held)
                self._stream.flush()
                self._held.clear()
        except OSError:
            self._is_given_up = True


def _open_private(path: Path) -> TextIO:
    """Open for writing from the start, mode 0600 also where the file was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(handle, 0o600)
    return os.fdopen(handle, "w", encoding="utf-8")
