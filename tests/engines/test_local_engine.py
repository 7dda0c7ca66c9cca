"""Contract of engines, on the local one: every end is told of, deaths stay alone, an interruption ends what runs."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from privaudit.engines.interface import Job, JobEnd
from privaudit.engines.local import LocalEngine
from privaudit.errors import OutputError

WORKER = """
import os, signal, sys, time
out, action = sys.argv[1], sys.argv[2]
if action == "ok":
    open(out, "w").write(os.environ["OMP_NUM_THREADS"])
elif action == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif action == "exit":
    print("first line")
    print("privaudit: error: expected this, found that", file=sys.stderr)
    sys.exit(2)
elif action == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(out, "w").write("up")
    time.sleep(60)
elif action == "sleep":
    open(out, "w").write("up")
    time.sleep(60)
elif action == "overlap":
    open(out + ".start", "w").write(str(time.time()))
    time.sleep(0.5)
    open(out, "w").write(str(time.time()))
"""


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


def job(tmp_path: Path, name: str, action: str, threads: int = 1) -> Job:
    return Job(name, "engine_worker", (str(tmp_path / name), action), tmp_path / f"{name}.log", threads)


def run(jobs: list[Job], n_parallel: int = 2, **options: float) -> tuple[tuple[JobEnd, ...], list[str], list[JobEnd]]:
    started: list[str] = []
    told: list[JobEnd] = []
    ends = LocalEngine(n_parallel, **options).run(jobs, lambda job: started.append(job.name), told.append)
    return ends, started, told


def test_a_death_and_an_error_are_told_with_their_reason_and_others_go_on(tmp_path: Path) -> None:
    names = {"a": "ok", "b": "die", "c": "exit", "d": "ok"}
    ends, started, told = run([job(tmp_path, name, action, 3) for name, action in names.items()])
    assert [end.job.name for end in ends] == list(names)
    assert [end.status for end in ends] == ["finished", "failed", "failed", "finished"]
    assert ends[1].reason == "killed by signal 9 (SIGKILL), which the system sends when memory runs out"
    assert ends[1].exit_code == -9
    assert ends[2].reason == "exit code 2: privaudit: error: expected this, found that"
    assert (ends[0].reason, ends[0].exit_code) == ("", 0)
    assert sorted(started) == sorted(names)
    assert sorted(told, key=lambda end: end.job.name) == list(ends)
    assert (tmp_path / "d").read_text() == "3"
    assert (tmp_path / "c.log").read_text().splitlines()[0] == "first line"
    assert (tmp_path / "c.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("n_parallel", [1, 2])
def test_as_many_run_at_a_time_as_asked(tmp_path: Path, n_parallel: int) -> None:
    ends, _, _ = run([job(tmp_path, name, "overlap") for name in ("a", "b")], n_parallel)
    assert [end.status for end in ends] == ["finished", "finished"]
    second_start = max(float((tmp_path / f"{name}.start").read_text()) for name in ("a", "b"))
    first_end = min(float((tmp_path / name).read_text()) for name in ("a", "b"))
    assert (second_start < first_end) is (n_parallel == 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs_and_starts_nothing_more(tmp_path: Path, number: signal.Signals) -> None:
    jobs = [job(tmp_path, "a", "sleep"), job(tmp_path, "b", "sleep")]
    before = signal.getsignal(signal.SIGTERM)

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while not (tmp_path / "a").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    start = time.monotonic()
    ends, started, told = run(jobs, 1)
    thread.join()
    assert time.monotonic() - start < 30
    assert [end.status for end in ends] == ["interrupted", "interrupted"]
    assert [end.reason for end in ends] == ["ended by request", "not started"]
    assert started == ["a"]
    assert told == [ends[0]]
    assert not (tmp_path / "b").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_job_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    def interrupt(_: Job) -> None:
        deadline = time.monotonic() + 20
        while not (tmp_path / "a").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        raise KeyboardInterrupt

    (end,) = LocalEngine(1, grace_s=0.3).run([job(tmp_path, "a", "stubborn")], interrupt, lambda _: None)
    assert (end.status, end.exit_code) == ("interrupted", -9)


def test_two_jobs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a name twice"):
        run([job(tmp_path, "a", "ok"), job(tmp_path, "a", "ok")])


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another --out"):
        run([Job("a", "engine_worker", (), tmp_path / "file" / "log")])


def test_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one process"):
        LocalEngine(0)
