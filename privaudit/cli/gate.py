"""`privaudit gate`, `verify` and `compare`: what finished results allow, without torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.console import emit, emit_json, say
from privaudit.cli.options import (
    AsJson,
    ExitZero,
    FailOnOption,
    FormatOption,
    MaxLeaked,
    MaxReadable,
    Quiet,
    ResultArgument,
    Verbose,
)
from privaudit.errors import ExitCode

if TYPE_CHECKING:
    from privaudit.model_digest import ModelDigest
    from privaudit.result import AuditResult

PolicyOption = Annotated[
    Path | None, typer.Option("--policy", metavar="POLICY.toml", help="Allowances, demands and waivers: docs/gate.md.")
]
BaselineOption = Annotated[
    Path | None, typer.Option("--baseline", metavar="OLD.json", help="What leaked there already does not fail.")
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", metavar="FILE", help="The file that is released; its sha256 must match.")
]
GateOut = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for gate.json and --format. Default: write nothing.")
]


def gate(
    result: ResultArgument,
    policy: PolicyOption = None,
    baseline: BaselineOption = None,
    model: ModelOption = None,
    max_leaked: MaxLeaked = None,
    max_readable: MaxReadable = None,
    fail_on: FailOnOption = None,
    out: GateOut = None,
    format: FormatOption = None,
    exit_zero: ExitZero = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Pass or fail from a finished RESULT.json.

    Needs neither GPU nor torch. Counts and verdict are recomputed from the records. Allowances: options, else the
    policy, else (without a policy) those of the scan, which stderr then names. Prints the verdict's status to stdout,
    every check to stderr; with --json the whole decision, as gate.json has it, to stdout instead.

    --exit-zero does not hide that a check of the instrument did not run.
    """
    from privaudit import gate as gating
    from privaudit.cli.gate_output import prepare, say_decision, write
    from privaudit.cli.summary import borrowed_line
    from privaudit.config import check_options
    from privaudit.gate.policy import read_policy
    from privaudit.result_file import read_result

    chosen = check_options(max_leaked=max_leaked, max_readable=max_readable, fail_on=fail_on, format=format)
    inputs = {"result": result, "policy": policy, "baseline": baseline, "model": model}
    formats = prepare(out, chosen.pop("format"), inputs)
    rules = gating.Rules(None if policy is None else read_policy(policy), **chosen, exit_zero=bool(exit_zero))
    judged = read_result(result)
    older = None if baseline is None else read_result(baseline)
    is_quiet = quiet or as_json
    digest = None if model is None else _digest(model, is_quiet)
    decision = gating.decide(judged, rules, model=digest, baseline=older)
    if not is_quiet:
        _say_link(result)
        say_decision(decision, borrowed_line(decision, rules))
    if out is not None:
        for path in write(out, formats, decision, judged, result):
            if not as_json:
                say(f"wrote {path}")
    if as_json:
        emit_json(decision.model_dump_json(indent=1))
    else:
        emit(decision.verdict.status)
    raise typer.Exit(decision.exit_code)


def verify(
    result: ResultArgument,
    model: ModelOption = None,
    reconstructions: Annotated[
        bool,
        typer.Option("--reconstructions", help="Also demand reconstructions.safetensors, and that it belongs here."),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Check that RESULT.json is whole, sealed and agrees with itself.

    Says nothing about leaks: exit code 0 means intact, 2 anything else. Prints the result's sha256 to stdout.
    """
    from privaudit.gate import require_model
    from privaudit.gate.consistency import require_consistent
    from privaudit.result_file import read_result

    checked = read_result(result)
    require_consistent(checked)
    if model is not None:
        require_model(checked, _digest(model, quiet or as_json))
    if reconstructions:
        _require_pictures(result, checked)
    if as_json:
        sha256 = {"result_sha256": checked.self_sha256, "model_sha256": checked.model.sha256}
        emit_json(json.dumps({"intact": True, "model_checked": model is not None, **sha256}, indent=1))
        return
    if not quiet:
        _say_link(result)
        say("intact: sealed, and counts, thresholds and verdict follow from its records; leaks are the gate's question")
        say("the model's sha256 matches" if model is not None else f"it is about the model {checked.model.sha256}")
    emit(checked.self_sha256)


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="What an earlier scan wrote.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="What a later one wrote, on the same reference.")],
    fail_on_new: Annotated[
        bool, typer.Option("--fail-on-new", help="Exit 1 where a record leaks that did not.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """New, gone and unchanged leaks between two results.

    The exact McNemar test says whether more records changed one way than the other. Ids can be compared where both
    scans had the same PRIVAUDIT_SALT, or --reveal; else no test is made.
    """
    from privaudit.gate.comparison import compare as compared
    from privaudit.gate.comparison import n_shared
    from privaudit.gate.consistency import require_consistent
    from privaudit.result_file import read_result

    before, after = read_result(old), read_result(new)
    for one in (before, after):
        require_consistent(one)
    comparisons, shared = compared(before, after), n_shared(before, after)
    code = ExitCode.NO_LEAK_FOUND
    if fail_on_new and (not shared or any(comparison.new for comparison in comparisons)):
        code = ExitCode.LEAK_FOUND if shared else ExitCode.INCONCLUSIVE
    if as_json:
        document = {"comparisons": [comparison.model_dump(mode="json") for comparison in comparisons]}
        emit_json(json.dumps(document, indent=1, allow_nan=False))
    elif not quiet:
        from privaudit.cli.compare_screen import compare_screen

        compare_screen(comparisons, shared, code, verbose)
    raise typer.Exit(code)


def _digest(model: Path, is_quiet: bool) -> "ModelDigest":
    from privaudit.model_digest import model_digest

    digest = model_digest(model)
    if digest.is_link and not is_quiet:
        say(f"{model} is a symbolic link; hashed {digest.files[0]}")
    return digest


def _say_link(path: Path) -> None:
    if path.is_symlink():
        say(f"{path} is a symbolic link; read {path.resolve()}")


def _require_pictures(path: Path, result: "AuditResult") -> None:
    from privaudit.errors import ResultError
    from privaudit.report.pictures import FILE_NAME, read_pictures

    pictures = path.parent / FILE_NAME
    if read_pictures(pictures, result) is None:
        raise ResultError(f"expected the pictures of this result at {pictures}, found no such file; copy it there")
