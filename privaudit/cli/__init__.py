"""The command line: the only place that turns a result or an error into an exit code.

In: arguments. Out: files, text and an exit code. Holds no maths and imports no torch at start; a command imports what
it needs when it runs. stdout carries machine results only, everything else goes to stderr.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer

from privaudit.cli.console import complain, discard_stdout, say
from privaudit.errors import ExitCode, PrivauditError

PROGRAM = "privaudit"


def main() -> NoReturn:
    """Run the program with the arguments of this process and exit."""
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:  # a shell asks what could come next
        from privaudit.cli.app import app

        app(prog_name=PROGRAM)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the one place where exceptions become exit codes.

    An exit code of 1 or 3 is a finding, so nothing that went wrong may leave with either: not a closed pipe, and not a
    `SystemExit` out of a library or out of a user's adapter.
    """
    try:
        return _invoke(list(arguments))
    except PrivauditError as error:
        complain(str(error))
    except (KeyboardInterrupt, typer.Abort):
        with contextlib.suppress(OSError):
            say("privaudit: interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
    except SystemExit as error:
        discard_stdout()
        complain(f"ended early (SystemExit: {error.code})")
    except Exception as error:
        _complain_of_unexpected(error, arguments)
    return ExitCode.ERROR


def _invoke(arguments: list[str]) -> int:
    from privaudit.cli.app import app

    command = typer.main.get_command(app)
    # Not `command.main`: it turns a closed pipe into exit code 1 and an EOFError into an abort.
    try:
        with command.make_context(PROGRAM, arguments, obj=arguments) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        return leaving.exit_code
    return ExitCode.NO_LEAK_FOUND


def _complain_of_unexpected(error: Exception, arguments: Sequence[str]) -> None:
    """One line for what the program did not foresee, and for arguments that cannot be parsed."""
    usage = getattr(error, "format_message", None)  # typer's usage errors have no public base class
    if usage is not None:
        context = getattr(error, "ctx", None)
        asked = context.command_path if context is not None else PROGRAM
        complain(f"{usage().rstrip('.')}; see {asked} --help")
        return
    if any(re.fullmatch(r"-q*v[qv]*|--verbose", argument) for argument in arguments):
        sys.stderr.write("".join(traceback.format_exception(error)))
        complain(f"{type(error).__name__}: {error}")
    else:
        complain(f"{type(error).__name__}: {error} (run with -v for the traceback)")
