"""Exit codes and streams of the program as a whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from privaudit.cli import run
from privaudit.cli.app import app
from privaudit.errors import CheckpointError
from privaudit.progress import TrialProgress

COMMANDS = (
    "scan",
    "gate",
    "report",
    "verify",
    "compare",
    "inspect",
    "adapters",
    "train",
    "study",
    "demo",
    "doctor",
    "config",
)

# A process of its own, in which the audit is this function.
WITH_FAKE_SCAN = """
import sys, time, types, privaudit, privaudit.errors
def scan(settings, listener, command):
    {body}
privaudit.audit = sys.modules["privaudit.audit"] = types.ModuleType("privaudit.audit")
privaudit.audit.scan = scan
from privaudit.cli import main
sys.argv = ["privaudit", "scan", "model.safetensors"]
main()
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_command_and_each_has_help(command):
    runner = CliRunner()
    assert f"  {command}" in runner.invoke(app, ["--help"]).stdout
    helped = runner.invoke(app, [command, "--help"])
    assert helped.exit_code == 0
    assert "Usage:" in helped.stdout


def test_help_is_quick(run_process, in_folder):
    times = []
    for arguments in (["--help"], ["scan", "--help"]):
        start = time.perf_counter()
        completed = run_process(*arguments)
        times.append(time.perf_counter() - start)
        assert completed.returncode == 0
        assert "Usage: privaudit" in completed.stdout
    # The product's limit is 0.5 s; four times that, because a busy machine is no fault of the program. What makes it
    # slow, an import of torch, is checked exactly in tests/test_architecture.py.
    assert max(times) < 2.0


def test_without_arguments_help_goes_to_stderr_and_nothing_scanned_is_not_zero(capsys):
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage: privaudit" in captured.err


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("privaudit 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scan"], "MODEL"),
        (["scn"], "scn"),
        (["scan", "m", "--no-such-option"], "--no-such-option"),
        (["scan", "m", "--out"], "--out"),
        (["scan", "m", "n"], "n"),
        (["scan", "m", "--engine", "ray"], "local"),
        (["scan", "m", "--preprocess", "x"], "--preprocess"),
        (["scan", "m", "--restarts", "many"], "whole number"),
        (["gate", "r", "--max-leaked", "x"], "--max-leaked"),
        (["inspect", "m", "--exit-zero"], "--exit-zero"),
        (["compare", "a"], "NEW.json"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, words, capsys, in_folder):
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("privaudit: error: ")
    assert words in captured.err
    assert "Input should" not in captured.err  # pydantic's own words


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CheckpointError("expected a checkpoint,\nfound\x1b[31m none"), 2, "expected a checkpoint, found"),
        (RuntimeError("broken"), 2, "RuntimeError: broken (run with -v for the traceback)"),
        (EOFError("no more"), 2, "EOFError: no more"),
        (SystemExit(0), 2, "SystemExit: 0"),
        (SystemExit(1), 2, "SystemExit: 1"),
        (MemoryError(), 2, "MemoryError"),
        (KeyboardInterrupt(), 130, "privaudit: interrupted"),
        (typer.Abort(), 130, "privaudit: interrupted"),
    ],
)
def test_every_error_has_its_code_and_one_line(error, code, words, fake_stage, capsys, in_folder):
    def scan(*_):
        raise error

    fake_stage("audit", scan=scan)
    assert run(["scan", "model.safetensors"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert words in captured.err
    assert "\x1b" not in captured.err
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize("option", ["-v", "-vv", "--verbose"])
def test_verbose_shows_the_traceback_of_an_unexpected_error(option, fake_stage, capsys, in_folder):
    def scan(*_):
        raise ZeroDivisionError("one by none")

    fake_stage("audit", scan=scan)
    assert run(["scan", "model.safetensors", option]) == 2
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.splitlines()[-1] == "privaudit: error: ZeroDivisionError: one by none"


def fake_process(body: str, folder: Path, **options):
    code = WITH_FAKE_SCAN.format(body=body)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environ, text=True, stderr=subprocess.PIPE, **options
    )


def test_interrupt_from_the_keyboard_ends_with_130(in_folder):
    # A test run in the background of a script inherits an ignored SIGINT; a terminal's child does not.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = fake_process(
        f"{listening}; print('ready', file=sys.__stdout__, flush=True); time.sleep(60)",
        in_folder,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert errors == "privaudit: interrupted\n"


def test_what_a_user_adapter_prints_does_not_reach_stdout(in_folder):
    process = fake_process(
        "print('loading'); raise privaudit.errors.DataError('no')", in_folder, stdout=subprocess.PIPE
    )
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert errors == "loading\nprivaudit: error: no\n"


def test_a_shell_can_ask_for_completions(run_process):
    asked = {"_PRIVAUDIT_COMPLETE": "complete_bash", "COMP_WORDS": "privaudit sc", "COMP_CWORD": "1"}
    completed = run_process(**asked)
    assert (completed.returncode, completed.stdout.split()) == (0, ["scan"])


def test_a_user_adapter_that_exits_with_0_is_an_error(in_folder):
    process = fake_process("sys.exit(0)", in_folder, stdout=subprocess.PIPE)
    process.communicate(timeout=30)
    assert process.returncode == 2


def test_a_reader_that_went_away_is_neither_a_finding_nor_a_traceback(in_folder):
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "privaudit", "config", "model.safetensors", "--json"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    completed = subprocess.run(
        command,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        cwd=in_folder,
        env=environ,
    )
    os.close(write_end)
    assert completed.returncode == 2
    assert completed.stderr == ""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminal on this platform")
def test_on_a_terminal_bars_show_loss_restarts_and_time_left(in_folder):
    controller, terminal = os.openpty()
    progress = TrialProgress("margin", 0.5, 0.25, 3, 8, 75.0)
    body = f"""
    from privaudit.progress import TrialProgress
    listener.stage("attack", "two objectives")
    listener.trial({progress!r})
    listener.note("an assumption")
    raise privaudit.errors.DataError("enough")
    """
    code = WITH_FAKE_SCAN.format(body=body.strip())
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "120"}
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=in_folder, env=environ, stderr=terminal, timeout=60, check=False
    )
    os.close(terminal)
    seen = b""
    try:
        while chunk := os.read(controller, 65536):
            seen += chunk
    except OSError:  # Linux ends a pseudo-terminal with an error instead of an empty read
        pass
    os.close(controller)
    text = seen.decode()
    assert completed.returncode == 2
    for words in ("attack: two objectives", "margin", "loss 0.25", "3/8 restarts", "1:15 left", "note: an assumption"):
        assert words in text, words
    assert "privaudit: error: enough" in text
