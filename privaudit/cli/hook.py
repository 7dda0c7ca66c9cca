"""`privaudit-gate-hook [OPTIONS] RESULT.json ...`: the gate for every result that pre-commit hands over.

In: options of `privaudit gate`, then any number of files. Out: the worst exit code. Imports no torch.
"""

import sys
from collections.abc import Sequence

from privaudit.cli import run
from privaudit.cli.console import complain, say
from privaudit.errors import ExitCode

SEVERITY = (
    ExitCode.NO_LEAK_FOUND,
    ExitCode.INCONCLUSIVE,
    ExitCode.LEAK_FOUND,
    ExitCode.ERROR,
    ExitCode.INTERRUPTED,
)
"""An error outranks a finding, a finding outranks doubt."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Gate each file and say which one it is; nothing to gate is an error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        files = _files(given)
    except Exception:
        return run(["gate", *given])  # options that are none: the gate says so in its own words
    options = given[: len(given) - len(files)]
    if not files or given[len(options) :] != files:
        complain("expected options, then the files to gate, found another order or no file; write --option=value")
        return ExitCode.ERROR
    worst: int = ExitCode.NO_LEAK_FOUND
    for file in files:
        say(file)
        worst = max(worst, run(["gate", *(option for option in options if option != "--"), "--", file]), key=_rank)
    return worst


def _files(arguments: list[str]) -> list[str]:
    """What the gate's own parser takes for no option and no option's value."""
    import typer

    from privaudit.cli.app import app

    alone = typer.Typer()
    alone.command()(next(c.callback for c in app.registered_commands if c.callback and c.callback.__name__ == "gate"))
    gate = typer.main.get_command(alone)
    context = gate.make_context("gate", [], resilient_parsing=True)
    named, others, _ = gate.make_parser(context).parse_args(list(arguments))  # it empties its list
    return [file for file in (named.get("result"), *others) if isinstance(file, str)]


def _rank(code: int) -> int:
    return SEVERITY.index(ExitCode(code)) if code in tuple(SEVERITY) else len(SEVERITY)


if __name__ == "__main__":
    sys.exit(main())
