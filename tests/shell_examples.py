"""Shell examples of the documentation: found in the pages, run as they stand in a folder that holds what they name.

A fenced block is one when it is marked bash, sh, shell or console, or has no mark and a line that begins with `$ ` or
with one of `PROGRAMS`. Where a line begins with `$ `, only such lines are commands and the others are output. Commands
exit with 0, or with what the comment `<!-- exits: 1, 0 -->` on the line above the block says, one number a command.

Run as written, in bash, with these stand-ins on the path:

* `pip`: every `install .[EXTRA]` is held against pyproject.toml; `.ci/run` runs the README's in a fresh environment.
* `pytest`, `mkdocs`: nothing; the first runs this, and `test_docs_site.py` runs the second.
* `privaudit demo`: run once a session, with `--time-limit 2`; the examples get its exit code and its files.
"""

import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = ("privaudit", "privaudit-gate-hook", "pip", "python", "pytest", "mkdocs", "sarif", "check-jsonschema")
SHELL = ("bash", "sh", "shell", "console")
SMALL = {
    "PRIVAUDIT_BUDGET": "quick",
    "PRIVAUDIT_TIME_LIMIT_S": "2",
    "PRIVAUDIT_INSTRUMENT_CHECK": "false",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}
"""What makes a scan short without a change of the command."""

_FENCE = re.compile(r"^( *)(`{3,})([\w-]*)[^\n`]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_EXITS = re.compile(r"<!-- exits: ([\d, ]+) -->\n\Z")
_PIP = """#!{python}
import re, sys, tomllib
extras = tomllib.load(open({pyproject!r}, "rb"))["project"]["optional-dependencies"]
asked = [word for word in sys.argv[1:] if not word.startswith("-")]
targets = [re.fullmatch(r"(?:\\.|privaudit)(?:\\[(\\w+)\\])?", word) for word in asked[1:]]
sys.exit(not (asked[0] == "install" and targets and all(t and (t[1] is None or t[1] in extras) for t in targets)))
"""


@dataclass(frozen=True)
class Example:
    """One block. `where`: page and line of its fence."""

    where: str
    commands: tuple[str, ...]
    exits: tuple[int, ...]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def examples_in(text: str, name: str) -> list[Example]:
    found = []
    for match in _FENCE.finditer(text):
        commands = commands_of(match[4], match[3])
        if not commands:
            continue
        said = _EXITS.search(text[: match.start()])
        exits = tuple(map(int, said[1].split(","))) if said else (0,) * len(commands)
        where = f"{name}:{text[: match.start()].count(chr(10)) + 1}"
        assert len(exits) == len(commands), f"{where}: {len(commands)} commands, {len(exits)} exit codes"
        found.append(Example(where, commands, exits))
    return found


def commands_of(body: str, mark: str) -> tuple[str, ...]:
    """The commands of a block; none where it shows no shell."""
    if mark not in ("", *SHELL):
        return ()
    lines = re.sub(r"\s*\\\n\s*", " ", body).splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    if prompted:
        return tuple(prompted)
    is_shell = mark in SHELL or any(line.split(" ")[0] in PROGRAMS for line in lines)
    return tuple(line for line in lines if is_shell and line.strip() and not line.startswith("#"))


def all_examples() -> list[Example]:
    return [
        example for path in pages() for example in examples_in(path.read_text(encoding="utf-8"), _name(path))
    ]  # fmt: skip


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def write_stand_ins(folder: Path, demo: Path) -> None:
    """Programs for the front of the path. `demo`: where `privaudit demo` was run."""
    folder.mkdir()
    python, pyproject = sys.executable, str(ROOT / "pyproject.toml")
    texts = {
        "pip": _PIP.format(python=python, pyproject=pyproject),
        "pytest": "#!/bin/sh\n",
        "mkdocs": "#!/bin/sh\n",
        "python": f'#!/bin/sh\nexec "{python}" "$@"\n',
        "privaudit": f'#!/bin/sh\n[ "$*" = demo ] && cp -r "{demo}" . && exit 0\nexec "{python}" -m privaudit "$@"\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(stat.S_IRWXU)


def run_in(folder: Path, command: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """One command in bash; the stand-ins lie beside the folder."""
    path = f"{folder.parent / 'stand-ins'}:{sysconfig.get_path('scripts')}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**environment, **SMALL, "PATH": path, "GITHUB_STEP_SUMMARY": str(folder / "summary.md")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def copied(source: Path, target: Path) -> Path:
    """A folder of its own for an example."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
