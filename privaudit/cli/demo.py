"""`privaudit demo` and `privaudit doctor`: the tool on itself."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.console import emit, emit_json, stdout_for_results_only
from privaudit.cli.options import AsJson, NoProgress, Quiet, Verbose
from privaudit.errors import ExitCode, PrivauditError

if TYPE_CHECKING:
    from privaudit.demo import DemoOutcome


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = Path("privaudit-demo"),
    time_limit: Annotated[str | None, typer.Option(metavar="SECONDS", help="Time for each attack.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_progress: NoProgress = False,
) -> None:
    """Audit a network known to leak and its untrained twin.

    Needs no input and no network. Prints the paths of both HTML reports to stdout, or with --json both results. Exit
    code 0 means that both verdicts came out as they must.
    """
    from privaudit.cli.output import sole_use
    from privaudit.cli.progress import listener_for
    from privaudit.config import check_options
    from privaudit.demo import run_demo

    time_limit_s = check_options(time_limit_s=time_limit)["time_limit_s"]
    is_quiet = quiet or as_json
    with sole_use(out), stdout_for_results_only(), listener_for(is_quiet, verbose, no_progress) as listener:
        outcome = run_demo(out, listener, time_limit_s)
    if as_json:
        results = {"leaky": outcome.leaky.result, "untrained": outcome.untrained.result}
        document = {name: result.model_dump(mode="json") for name, result in results.items()}
        emit_json(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))
        _require_expected(outcome)
        return
    if not quiet:
        from privaudit.cli.demo_screen import networks_screen

        networks_screen(outcome.leaky, outcome.untrained)
    for scanned in (outcome.leaky, outcome.untrained):
        for path in scanned.files:
            if path.suffix == ".html":
                emit(str(path))
    _require_expected(outcome)
    if not quiet:
        from privaudit.cli.demo_screen import as_expected

        as_expected()


def _require_expected(outcome: "DemoOutcome") -> None:
    """Exit 130 when interrupted, raise when the instrument failed on a case whose answer is known."""
    leaky, untrained = outcome.leaky.result, outcome.untrained.result
    if leaky.attack.interrupted or untrained.attack.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if leaky.verdict.status != "leak_found" or untrained.verdict.status == "leak_found":
        raise PrivauditError(
            "expected leak_found for the leaky network and not for the untrained one, found "
            f"{leaky.verdict.status} and {untrained.verdict.status}; run privaudit doctor"
        )


def doctor(
    as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = 0, no_progress: NoProgress = False
) -> None:
    """Check this machine, and the attack on two known cases.

    Devices, versions and memory; then a network that leaks must be caught and an untrained one must not.
    """
    from privaudit.cli.progress import listener_for
    from privaudit.doctor import run_doctor

    with stdout_for_results_only(), listener_for(quiet or as_json, verbose, no_progress) as listener:
        checks = run_doctor(listener)
    if as_json:
        emit_json(json.dumps([{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks], indent=1))
    elif not quiet:
        from privaudit.cli.demo_screen import doctor_screen

        doctor_screen([(check.name, check.ok, check.detail) for check in checks], verbose)
    failed = [check.name for check in checks if not check.ok]
    if failed or not checks:
        raise PrivauditError(f"expected every check to pass, found a failure in: {', '.join(failed) or 'no check ran'}")
