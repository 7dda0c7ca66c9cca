"""`privaudit-gate-hook [OPTIONS] RESULT.json ...`: the gate for every result that pre-commit hands over.

In: options of `privaudit gate`, then any number of files. Out: the worst exit code. Imports no torch.
"""

import contextlib
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from privaudit.cli import run
from privaudit.cli.console import complain, discard_stdout, emit, say
from privaudit.errors import ExitCode
from privaudit.result import VerdictStatus

SEVERITY = (
    ExitCode.NO_LEAK_FOUND,
    ExitCode.INCONCLUSIVE,
    ExitCode.LEAK_FOUND,
    ExitCode.ERROR,
    ExitCode.INTERRUPTED,
)
"""An error outranks a finding, a finding outranks doubt."""

_HELP = ("-h", "--help")
_STRICTEST = {"max_leaked": "--max-leaked=0", "max_readable": "--max-readable=0", "fail_on": "--fail-on=any"}
"""Without a policy: the allowances inside a committed result are those of whoever scanned, or of a file beside it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Gate each file and say which one it is; nothing to gate is an error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and set(given) <= set(_HELP):
        return run(["gate", *given])
    try:
        named = _parsed(given)
    except Exception:
        return run(["gate", *given]) or ExitCode.ERROR  # options that are none: the gate says so in its own words
    files = [file for file in (named["result"], *named["others"]) if isinstance(file, str)]
    options = given[: len(given) - len(files)]
    if not files or given[len(options) :] != files:
        complain("expected options, then the files to gate, found another order or no file; write --option=value")
        return ExitCode.ERROR
    if named["help"]:
        complain("expected files to gate or --help, found both; leave one out")
        return ExitCode.ERROR
    if named.get("as_json"):
        complain("expected no --json, because there is one document a file, found it; run privaudit gate on one file")
        return ExitCode.ERROR
    options = [*_defaults(named), *(option for option in options if option != "--")]
    worst: int = ExitCode.NO_LEAK_FOUND
    for file in files:
        say(file)
        worst = max(worst, _gated([*options, "--", file]), key=_rank)
    return worst


def _parsed(arguments: list[str]) -> dict[str, Any]:
    """What the gate's own parser makes of them; under `others` the files after the first, which is `result`."""
    import typer

    from privaudit.cli.app import app

    alone = typer.Typer(context_settings={"help_option_names": list(_HELP)})
    alone.command()(next(c.callback for c in app.registered_commands if c.callback and c.callback.__name__ == "gate"))
    gate = typer.main.get_command(alone)
    context = gate.make_context("gate", [], resilient_parsing=True)
    named, others, _ = gate.make_parser(context).parse_args(list(arguments))  # it empties its list
    return {"result": None, "help": False, **named, "others": others}


def _defaults(named: Mapping[str, object]) -> list[str]:
    """Zero for every allowance that neither a policy nor an option sets."""
    if named.get("policy") is not None:
        return []
    return [option for name, option in _STRICTEST.items() if named.get(name) is None]


def _gated(arguments: list[str]) -> int:
    """Exit code of the gate on one file; success without a verdict is none."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run(["gate", *arguments])
    verdict = printed.getvalue().strip()
    if code == ExitCode.NO_LEAK_FOUND and verdict not in get_args(VerdictStatus):
        complain("expected a verdict, found none; run privaudit gate on this file alone")
        return ExitCode.ERROR
    try:
        if verdict:
            emit(verdict)
    except BrokenPipeError:
        discard_stdout()
        return ExitCode.ERROR
    return code


def _rank(code: int) -> int:
    return SEVERITY.index(ExitCode(code)) if code in tuple(SEVERITY) else len(SEVERITY)


if __name__ == "__main__":
    sys.exit(main())
