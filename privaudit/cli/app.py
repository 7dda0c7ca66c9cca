"""The commands, in the order in which `--help` lists them."""

from typing import Annotated

import typer

from privaudit import __version__
from privaudit.cli.adapters import adapters
from privaudit.cli.config import config
from privaudit.cli.console import emit
from privaudit.cli.demo import demo, doctor
from privaudit.cli.gate import compare, gate, verify
from privaudit.cli.inspect import inspect
from privaudit.cli.results import report
from privaudit.cli.scan import scan
from privaudit.cli.study import study
from privaudit.cli.train import train
from privaudit.errors import ExitCode

app = typer.Typer(
    name="privaudit",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        emit(f"privaudit {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """How much of its training data does a trained checkpoint give away?

    \b
    Exit codes of scan and gate:
      0    no leak found: upper bounds within the allowance, instrument checked
      1    leak found: a lower bound above the allowance
      2    could not do the job (any error)
      3    inconclusive, with the reason
      130  interrupted

    Results for machines go to stdout, everything else to stderr.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.ERROR)


for _command in (scan, gate, report, verify, compare, inspect, adapters, train, study, demo, doctor, config):
    app.command()(_command)
