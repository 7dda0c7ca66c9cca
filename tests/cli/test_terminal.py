"""What people see on terminals of two widths, without colours, in pipes and CI, in ASCII, and of hostile files."""

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build, write_audit
from rich.cells import cell_len

from privaudit.cli.signs import fitted, plain, shortened, shortened_middle
from privaudit.result_file import to_json

pytestmark = pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminal on this platform")

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
BAR = "╋"
HOSTILE = "[red]a\x1b[31m\x07‮\nb" + "x" * 10_000 + "[/red].safetensors"
CASES = {
    "leak": LEAK,
    "no leak": NO_LEAK,
    "inconclusive": INCONCLUSIVE,
    "no reference": NO_REFERENCE,
    "does not apply": Case(applicable=False, membership_applicable=False),
    "many doubts": Case(n_rebuilt=0, n_readable=0, positive="not_run", negative="not_run", is_saturated=False),
    "hostile": Case(path=HOSTILE),
    "large": Case(n_members=12_000, n_controls=2000, n_rebuilt=9000, n_readable=11_000),
}
SCANNED = """
import pathlib, sys, types, privaudit
def scan(settings, listener, command):
    from privaudit.result_file import read_result
    from privaudit.progress import TrialProgress
    listener.stage("attack", "one objective")
    listener.trial(TrialProgress("feature_span", 0.5, 0.0123, 12, 24, 75.0))
    names = ("result.json", "reconstructions.safetensors", "report.html")
    files = tuple(settings.out / name for name in names)
    return types.SimpleNamespace(result=read_result(pathlib.Path("given.json")), files=files)
privaudit.audit = sys.modules["privaudit.audit"] = types.ModuleType("privaudit.audit")
privaudit.audit.scan = scan
from privaudit.cli import main
main()
"""


def environment(**variables: str) -> dict[str, str]:
    left_out = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "LINES", "TTY_COMPATIBLE", "PYTHONIOENCODING")
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path), **variables}


def on_terminal(
    folder: Path, *arguments: str, columns: int = 80, stdout: int = subprocess.DEVNULL, **variables: str
) -> str:
    """What the program prints on a terminal of that width; its stdout goes elsewhere."""
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", SCANNED, *arguments],
        cwd=folder,
        env=environment(**variables),
        stdin=terminal,
        stdout=stdout,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    try:
        while chunk := os.read(controller, 65536):
            seen += chunk
    except OSError:  # Linux ends a pseudo-terminal with an error instead of an empty read
        pass
    os.close(controller)
    process.wait(timeout=60)
    return seen.decode().replace("\r\n", "\n")


def in_pipe(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCANNED, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def screen_of(printed: str) -> list[str]:
    """The lines of the screen at the end, behind the progress, without colours."""
    return ESCAPES.sub("", printed).split("\naudited")[-1].splitlines()


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    (tmp_path / "given.json").write_text(to_json(build(getattr(request, "param", LEAK))), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("folder", CASES.values(), ids=CASES.keys(), indirect=True)
def test_a_scan_fits_the_terminal(columns: int, folder: Path) -> None:
    printed = on_terminal(folder, "scan", "m", "--no-progress", columns=columns)
    lines = [line for line in ESCAPES.sub("", printed).splitlines() if not line.startswith("  feature_span: ")]
    assert max(map(cell_len, lines)) <= columns
    shown = screen_of(printed)
    assert len(shown) >= 10
    if columns == 80:
        assert len(shown) <= 24
    last = " ".join(line.strip() for line in shown[-2:])
    assert re.search(r"[▲●◆] verdict: (leak_found|no_leak_found|inconclusive)\b.*, exit [013]$", last)
    assert "…" not in "".join(shown[-3:])


def test_a_leak_reads_as_one(folder: Path) -> None:
    """Every figure that decides is on the screen, with a sign beside each colour."""
    shown = screen_of(on_terminal(folder, "scan", "m", "--no-progress"))
    text = "\n".join(shown)
    finding = build(LEAK).verdict.findings[0]
    assert f"▲ FOUND  rebuilt              {finding.count} of 50" in text
    assert f"{finding.interval_low:.1f} to {finding.interval_high:.1f}" in text
    assert "0 of 500" in text and BAR in text
    assert shown[-1] == "▲ verdict: leak_found (rebuilt and membership readable), exit 1"


@pytest.mark.parametrize("options", [[], ["--no-progress"]])
def test_bars_on_a_terminal_leave_stdout_alone(options: list[str], folder: Path) -> None:
    """They replace sys.stdout while they are shown."""
    with (folder / "stdout").open("w") as stream:
        printed = on_terminal(folder, "scan", "m", *options, stdout=stream.fileno())
    assert (folder / "stdout").read_text() == "audit/result.json\n"
    assert screen_of(printed)[-1].startswith("▲ verdict: ")


@pytest.mark.parametrize(
    ("variables", "has_colour", "has_bar"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        ({"CI": "true"}, False, False),
        ({"CI": "false"}, True, True),
        ({"CI": "true", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colours_and_bars_on_a_terminal(
    variables: dict[str, str], has_colour: bool, has_bar: bool, folder: Path
) -> None:
    printed = on_terminal(folder, "scan", "m", **variables)
    assert bool(COLOURS.search(printed)) == has_colour
    assert (BAR in printed) == has_bar
    assert bool(ESCAPES.search(COLOURS.sub("", printed))) == has_bar, "a bar of progress moves the cursor"


@pytest.mark.parametrize("variables", [{}, {"CI": "1"}, {"NO_COLOR": "1"}])
def test_a_pipe_has_neither_colours_nor_bars(variables: dict[str, str], folder: Path) -> None:
    done = in_pipe(folder, "scan", "m", **variables)
    assert (done.returncode, done.stdout) == (1, "audit/result.json\n")
    assert "\x1b" not in done.stderr and BAR not in done.stderr and "━" not in done.stderr
    assert all(line == line.rstrip() for line in done.stderr.splitlines())


def test_a_pipe_has_colours_where_they_are_asked_for(folder: Path) -> None:
    done = in_pipe(folder, "scan", "m", FORCE_COLOR="1")
    assert COLOURS.search(done.stderr) and BAR not in done.stderr
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("folder", [CASES["many doubts"]], indirect=True)
def test_a_log_has_all_of_every_reason(folder: Path) -> None:
    told = " ".join(in_pipe(folder, "scan", "m").stderr.split())
    for reason in build(CASES["many doubts"]).verdict.reasons[2:]:
        assert reason in told
    assert " …" not in told


@pytest.mark.parametrize("coding", ["ascii", "ascii:strict", "latin-1:strict"])
def test_a_stream_without_unicode_gets_other_signs(coding: str, folder: Path) -> None:
    printed = on_terminal(folder, "scan", "gewürz–日.bin", PYTHONIOENCODING=coding, LC_ALL="C")
    assert "! FOUND" in printed and "#" in printed
    assert printed.splitlines()[-1].endswith("\x1b[0m") and "! \x1b" in printed.splitlines()[-1]
    assert "\\u" not in screen_of(printed)[-1] and "Traceback" not in printed


@pytest.mark.parametrize("columns", [40, 80])
def test_names_out_of_files_stay_text(columns: int, tmp_path: Path) -> None:
    write_audit(tmp_path, Case(path=HOSTILE), False).rename(tmp_path / "given.json")
    printed = on_terminal(tmp_path, "scan", "m", "--no-progress", columns=columns)
    assert "\x1b[31m" not in printed and "\x07" not in printed and "‮" not in printed
    assert "[red]a" in printed
    assert len(screen_of(printed)) < (25 if columns == 80 else 45)


@pytest.mark.parametrize("folder", CASES.values(), ids=CASES.keys(), indirect=True)
@pytest.mark.parametrize("command", ["gate", "compare"])
def test_finished_results_fit_a_narrow_terminal(command: str, folder: Path) -> None:
    files = ["given.json"] * (2 if command == "compare" else 1)
    printed = on_terminal(folder, command, *files, columns=40)
    lines = ESCAPES.sub("", printed).splitlines()
    assert max(map(cell_len, lines)) <= 40
    told = " ".join(line.strip() for line in lines[-2:])
    assert re.search(r"[▲●◆] (gate|compare): .*", told)


def test_json_in_a_pipe_is_the_file(folder: Path) -> None:
    done = in_pipe(folder, "scan", "m", "--json", PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (folder / "given.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout)["verdict"]["status"] == "leak_found"


def test_the_bar_of_progress_fits_a_narrow_terminal(folder: Path) -> None:
    for columns in (40, 80):
        printed = ESCAPES.sub("", on_terminal(folder, "scan", "m", columns=columns))
        bars = [line for line in re.split(r"[\r\n]", printed) if "feature_span" in line]
        assert bars and max(map(cell_len, bars)) <= columns
        assert all("left" in line and "…" not in line for line in bars)


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("▲ ü 日", "utf-8", "▲ ü 日"),
        ("▲ ü 日", "latin-1", "! ü \\u65e5"),
        ("▲ ü 日", "ascii", "! \\xfc \\u65e5"),
        ("…", "no such code", "..."),
    ],
)
def test_fitted(text: str, code: str, shown: str) -> None:
    assert fitted(text, code) == shown


def test_shortened() -> None:
    assert shortened("one two, three", 9) == "one two …"
    assert shortened("one", 3) == "one"
    assert shortened("x" * 50, 10) == "x" * 10 + " …"
    assert shortened_middle("a" * 100 + ".json", 20) == "a" * 6 + "…" + "a" * 8 + ".json"
    assert plain("a\x1b[31m‮b", 10) == "a [31m b"
