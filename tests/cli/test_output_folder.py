"""The output folder: one command at a time, whatever happened to the one before; nothing left that nobody wrote."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from privaudit.cli import run
from privaudit.cli.output import LOCK_FILE, sole_use
from privaudit.errors import OutputError

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom privaudit.cli.output import sole_use\n"
    "with sole_use(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


@pytest.fixture
def holder(tmp_path: Path):
    """Another process at work in `tmp_path / "out"`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_command_is_refused_and_changes_nothing(tmp_path: Path, holder, capsys):
    out = tmp_path / "out"
    for command in (["train", "--data", "digits"], ["study", "--paper", "--render"], ["demo"]):
        assert run([*command, "--out", str(out), "-q"]) == 2
        assert "expected no other privaudit at work in" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [LOCK_FILE]


def test_a_killed_command_keeps_nobody_out(tmp_path: Path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / LOCK_FILE).exists()
    with sole_use(tmp_path / "out"):
        (tmp_path / "out" / "result").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result"]


def test_nothing_is_left_where_nothing_was_written(tmp_path: Path):
    with sole_use(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    with pytest.raises(OutputError, match="inner"), sole_use(tmp_path / "a" / "b"):
        raise OutputError("inner")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with sole_use(tmp_path / "empty"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    with sole_use(tmp_path / "new" / "x"):
        (tmp_path / "new" / "x" / "file").touch()
    assert [path.name for path in (tmp_path / "new" / "x").iterdir()] == ["file"]


def test_a_file_in_the_way_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="expected a writable folder at"), sole_use(tmp_path / "file" / "x"):
        pass
