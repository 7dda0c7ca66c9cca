"""`privaudit study`: a grid over how networks are trained and attacked, as one table and one page."""

import json
import shlex
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.console import emit, emit_json, stdout_for_results_only
from privaudit.cli.options import AsJson, NoProgress, Quiet, Verbose
from privaudit.errors import ConfigError, ExitCode, PrivauditError, StudyError

if TYPE_CHECKING:
    from privaudit.study.cells import Row
    from privaudit.study.grid_file import GridFile
    from privaudit.study.record import Size, StudyRecord

GridArgument = Annotated[Path | None, typer.Argument(metavar="GRID.toml", help="What to train and scan.")]


def study(
    context: typer.Context,
    grid: GridArgument = None,
    *,
    paper: Annotated[bool, typer.Option("--paper", help="The shipped table of published settings instead.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The published size of each row, for a GPU.")] = False,
    row: Annotated[
        list[str] | None, typer.Option("--row", metavar="NAME", help="Only this row; repeat it for more.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="NAME=SOURCE", help="Images for a name of the table [data]; repeat it."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the results; what is done there is kept.")
    ] = Path("study"),
    jobs: Annotated[str, typer.Option("--jobs", metavar="auto|N", help="Cells at a time.")] = "auto",
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="N[,N…]", help="Seeds of every setting. Default: the file's.")
    ] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run files (file.py:function) that the grid names.")
    ] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Print what would run, and run nothing.")] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Only write table and page again, from the cells that are done.")
    ] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show training images on the page.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_progress: NoProgress = False,
) -> None:
    """Train a grid of networks, scan each, compare them.

    Writes study.html, study.json, study.csv and study.parquet to --out and prints the path of the page to stdout, or
    with --json what is in study.json. Every cell is stored as soon as it is done; the same command goes on where it
    stopped and tries failed cells again.

    \b
    Exit codes:
      0    every cell is done
      2    a cell failed (the page says why), or any other error
      130  interrupted; what is done is kept and shown
    """
    if render and grid is None and not paper:
        from privaudit.study.record import RECORD_FILE, read_record

        _refuse_selection(row, data, seeds, list_only, full)
        return _finish(read_record(out / RECORD_FILE), out, reveal, as_json, quiet, is_interrupted=False)
    file = _grid(grid, paper)
    rows, every = _rows(file, grid, full, row or [], data or [], seeds, allow_code)
    if list_only:
        return _list(rows, out, as_json)
    from privaudit.cli.output import sole_use
    from privaudit.study.record import record_of
    from privaudit.study.run import with_earlier_rows

    is_quiet = quiet or as_json
    command = shlex.join(["privaudit", *map(_shown, context.obj or ["study"])])
    with sole_use(out):
        with stdout_for_results_only():
            is_interrupted = False if render else _run(rows, out, jobs, (is_quiet, verbose, no_progress))
        size: Size = "only" if not file.has_full else "full" if full else "small"
        record = record_of(with_earlier_rows(rows, every, out), out, file.title, size, command)
        return _finish(record, out, reveal, as_json, quiet, is_interrupted, {row.name for row in rows})


def _shown(word: str) -> str:
    """A word of the command line without the folders of this machine, which the page's readers need not know."""
    from privaudit.study.cells import without_folders

    name, sign, value = word.partition("=")
    path = value if sign else word
    if not Path(path).is_absolute():
        return word
    return f"{name}{sign}{without_folders(path)}" if sign else without_folders(path)


def _refuse_selection(*given: object) -> None:
    if any(given):
        raise ConfigError(
            "expected GRID.toml or --paper beside --row, --data, --seeds, --full and --list, found --render alone; "
            "it shows all that study.json holds"
        )


def _grid(grid: Path | None, is_paper: bool) -> "GridFile":
    from privaudit.study.grid_file import paper_grid, read_grid_file

    if (grid is None) is not is_paper:
        found = "neither" if grid is None else "both"
        raise ConfigError(f"expected GRID.toml or --paper, found {found}; name what to run")
    return paper_grid() if grid is None else read_grid_file(grid)


def _rows(
    file: "GridFile",
    grid: Path | None,
    is_full: bool,
    names: Sequence[str],
    data: Sequence[str],
    seeds: str | None,
    allows_code: bool,
) -> "tuple[tuple[Row, ...], tuple[Row, ...]]":
    """Rows that were asked for, and every row of the file, checked."""
    from privaudit.study.cells import Choices, rows_of

    choices = Choices(
        is_full=is_full,
        rows=tuple(names),
        data=dict(_named_source(text) for text in data),
        seeds=None if seeds is None else _seeds(seeds),
        allows_code=allows_code,
        folder=Path() if grid is None else grid.parent,
    )
    chosen = rows_of(file, choices)
    if not names:
        return chosen, chosen
    try:
        return chosen, rows_of(file, replace(choices, rows=()))
    except PrivauditError:  # what was not asked for need not be right, nor its data be there
        return chosen, chosen


def _named_source(text: str) -> tuple[str, str]:
    name, sign, source = text.partition("=")
    if not (name and sign and source):
        raise ConfigError(f"expected --data as NAME=SOURCE such as cifar10=torchvision:CIFAR10, found {text!r}")
    return name, source


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ConfigError(f"expected --seeds as different whole numbers such as 0,1,2, found {text!r}")
    return tuple(int(part) for part in parts)


def _list(rows: "Sequence[Row]", out: Path, as_json: bool) -> None:
    from privaudit.study.run import pending_cells, unique_cells

    pending = {cell.digest for cell in pending_cells(rows, out)}
    states = {cell.digest: "to run" if cell.digest in pending else "done" for cell in unique_cells(rows)}
    if as_json:
        listed = [
            {
                "name": row.name,
                "title": row.title,
                "gpu_minutes": row.gpu_minutes,
                "cells": [
                    {"point": c.point, "seed": c.seed, "digest": c.digest, "state": states[c.digest]} for c in row.cells
                ],
            }
            for row in rows
        ]
        emit_json(json.dumps({"rows": listed}, indent=1, allow_nan=False, ensure_ascii=False))
        return
    from privaudit.cli.study_screen import list_screen

    list_screen(rows, states)


def _run(rows: "Sequence[Row]", out: Path, jobs: str, how: tuple[bool, int, bool]) -> bool:
    """Run what is not done; whether it was interrupted."""
    from privaudit.cli.study_progress import study_listener_for
    from privaudit.engines.local import LocalEngine
    from privaudit.study.resources import gpu_memory, places_for
    from privaudit.study.run import pending_cells, run_cells

    pending = pending_cells(rows, out)
    devices = {str(cell.scan.get("device", "auto")) for cell in pending} - {"cpu"}
    gpu_bytes = gpu_memory(devices.pop()) if devices and jobs == "auto" else None
    places = places_for(pending, jobs, gpu_bytes)
    with study_listener_for(*how) as listener:
        return run_cells(rows, out, places, LocalEngine, listener)


def _finish(
    record: "StudyRecord",
    out: Path,
    reveal: bool,
    as_json: bool,
    is_quiet: bool,
    is_interrupted: bool,
    asked: Container[str] | None = None,
) -> None:
    """Write, show, and leave with the exit code, which is that of the rows that were asked for; None: of all."""
    from privaudit.study.page import write_study

    files = write_study(out, record, reveal)
    failed = [cell for cell in record.cells if cell.status == "failed" and (asked is None or cell.row in asked)]
    code = ExitCode.INTERRUPTED if is_interrupted else ExitCode.ERROR if failed else ExitCode.NO_LEAK_FOUND
    if not (is_quiet or as_json):
        from privaudit.cli.console import say
        from privaudit.cli.study_screen import study_screen
        from privaudit.study.table import CSV_FILE, NO_PARQUET

        if files[-1].name == CSV_FILE:
            say(f"note: {NO_PARQUET}")
        study_screen(record, files, code)
    if as_json:
        emit_json(files[1].read_text(encoding="utf-8"))
    else:
        emit(str(files[0]))
    if is_interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if failed:
        raise StudyError(
            f"expected every cell to end, found {len(failed)} of {len(record.cells)} failed, the first with: "
            f"{failed[0].reason}; {files[0]} shows all, the same command tries them again"
        )
