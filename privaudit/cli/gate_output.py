"""What a gate says, and what `gate --out` writes: its decision, and reports that show it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from privaudit.cli.console import is_interactive, say
from privaudit.cli.summary import decision_lines
from privaudit.errors import ConfigError, OutputError
from privaudit.gate_decision import GateDecision
from privaudit.result import AuditResult

GATE_FILE = "gate.json"


def prepare(out: Path | None, formats: Sequence[str] | None, inputs: Mapping[str, Path | None]) -> tuple[str, ...]:
    """Remove the decision of an earlier gate, so that one which fails leaves none behind that passed.

    Args:
        out: the folder; None: write nothing.
        formats: as given.
        inputs: what the gate is about to read, by what it is called; None for what was not given.

    Raises:
        ConfigError: formats without a folder to write them to, or an input in the place of `gate.json`.
        OutputError: the old file cannot be removed.
    """
    if out is None:
        if formats:
            raise ConfigError("expected --out DIR beside --format, found none; a gate writes only where it is told to")
        return ()
    for name, path in inputs.items():
        if path is not None and _is_same_file(out / GATE_FILE, path):
            raise ConfigError(
                f"expected the {name} elsewhere than {GATE_FILE} in --out, which is replaced, found {path}; "
                "choose another --out"
            )
    try:
        (out / GATE_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"expected a writable folder at {out}, found: {error.strerror}; choose another --out"
        ) from None
    return tuple(formats or ())


def say_decision(decision: GateDecision, warning: str | None) -> None:
    """Every line to stderr, the exit code last; on a terminal with signs and wrapped, which alone loads rich."""
    lines = tuple(decision_lines(decision))
    if not is_interactive():
        for line in (*lines, warning):
            if line is not None:
                say(line)
        return
    from privaudit.cli.gate_screen import gate_screen

    gate_screen(decision, lines, warning)


def _is_same_file(one: Path, other: Path) -> bool:
    """By name once links are followed, or by what lies there: hard links, and names on a disk that knows no case."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False  # one is missing or cannot be looked at, which reading it will say


def write(
    out: Path, formats: Sequence[str], decision: GateDecision, result: AuditResult, result_path: Path
) -> tuple[Path, ...]:
    """Render every report, then write them and `gate.json` last.

    Raises:
        ResultError: pictures that do not belong to the result.
        OutputError: the folder cannot be written.
    """
    from privaudit.result_file import write_private

    rendered = _rendered(formats, decision, result, result_path) if formats else {}
    text = decision.model_dump_json(indent=1) + "\n"
    files = {**{out / name: content for name, content in rendered.items()}, out / GATE_FILE: text}
    for path, content in files.items():
        write_private(path, content.encode("utf-8"))
    return tuple(files)


def _rendered(formats: Sequence[str], decision: GateDecision, result: AuditResult, result_path: Path) -> dict[str, str]:
    from privaudit.report import REPORTS, ReportOptions
    from privaudit.report.pictures import FILE_NAME, read_pictures

    reports = [REPORTS[name] for name in dict.fromkeys(formats)]
    pictures = None
    if any(report.needs_pictures for report in reports):
        pictures = read_pictures(result_path.parent / FILE_NAME, result)
    options = ReportOptions(decision=decision)
    return {report.file_name: report.render(result, pictures, options) for report in reports}
