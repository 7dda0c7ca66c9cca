"""Listeners that need no terminal, and the lines that stand in for bars."""

import json
import math
import stat

import pytest

from privaudit.cli.progress import SECONDS_BETWEEN_LINES, LinesListener, clock_text, listener_for
from privaudit.progress import JsonLinesListener, SilentListener, Tee, TrialProgress


def progress(done=0.5, loss=0.25, left=75.0):
    return TrialProgress("margin", done, loss, 3, 8, left)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_tee_tells_every_listener(clock):
    heard = [[], []]
    tee = Tee(*(LinesListener(clock=clock, say=lines.append) for lines in heard))
    tee.stage("load", "reading")
    tee.trial(progress())
    tee.note("careful")
    assert heard[0] == heard[1]
    assert len(heard[0]) == 3


def test_json_lines_hold_every_field_and_the_seconds(tmp_path, clock):
    path = tmp_path / "new" / "progress.jsonl"
    with JsonLinesListener(path, clock) as log:
        log.stage("load", "reading")
        clock.now += 1.25
        log.trial(progress())
        log.note("careful – ünïcode")
    assert events(path) == [
        {"seconds": 0.0, "event": "stage", "name": "load", "message": "reading"},
        {
            "seconds": 1.25,
            "event": "trial",
            "objective": "margin",
            "done": 0.5,
            "loss": 0.25,
            "restarts_done": 3,
            "restarts_total": 8,
            "seconds_left": 75.0,
        },
        {"seconds": 1.25, "event": "note", "message": "careful – ünïcode"},
    ]


def test_json_lines_are_flushed_and_for_the_owner_only(tmp_path):
    path = tmp_path / "progress.jsonl"
    path.write_text("old")
    path.chmod(0o644)
    log = JsonLinesListener(path)
    log.trial(progress())
    assert len(events(path)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    log.close()


def test_nothing_is_written_before_the_attack(tmp_path):
    path = tmp_path / "out" / "progress.jsonl"
    log = JsonLinesListener(path)
    log.stage("load", "reading")
    log.note("careful")
    log.stage("preflight", "looking")
    assert not path.parent.exists()
    log.stage("attack", "go")
    assert len(events(path)) == 4
    log.close()
    log.note("too late")
    assert len(events(path)) == 4


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_numbers_that_are_none_become_null(loss, tmp_path):
    path = tmp_path / "progress.jsonl"
    with JsonLinesListener(path) as log:
        log.trial(progress(loss=loss))
    assert events(path)[0]["loss"] is None


def test_a_log_that_cannot_be_written_does_not_end_the_scan(tmp_path):
    (tmp_path / "file").write_text("")
    with JsonLinesListener(tmp_path / "file" / "progress.jsonl") as log:
        log.trial(progress())
        log.trial(progress())


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    (tmp_path / "progress.jsonl").symlink_to(target)
    with JsonLinesListener(tmp_path / "progress.jsonl") as log:
        log.trial(progress())
    assert target.read_text() == "keep"


def test_lines_are_rare(clock):
    lines = []
    listener = LinesListener(clock=clock, say=lines.append)
    for _ in range(100):
        listener.trial(progress())
        clock.now += SECONDS_BETWEEN_LINES / 40
    assert lines == ["  margin: 50%, loss 0.25, 3/8 restarts, 1:15 left"] * 3


def test_verbose_stages_tell_the_time(clock):
    lines = []
    listener = LinesListener(verbosity=1, clock=clock, say=lines.append)
    clock.now += 2
    listener.stage("load", "reading")
    assert lines == ["load: reading (2.0 s)"]


def test_quiet_is_silent():
    with listener_for(True, 2, False) as listener:
        assert isinstance(listener, SilentListener)


def test_without_a_terminal_there_are_no_bars():
    with listener_for(False, 0, False) as listener:
        assert isinstance(listener, LinesListener)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0:00"), (59.6, "1:00"), (3675.0, "61:15"), (math.nan, "–"), (math.inf, "–"), (-1.0, "–")],
)
def test_clock(seconds, text):
    assert clock_text(seconds) == text
