"""`privaudit adapters`: which architectures can be audited, and to what extent."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from privaudit.cli.console import emit, emit_json, print_table, say
from privaudit.cli.options import AsJson

_HEADINGS = ("--adapter", "networks", "told by", "images rebuilt by", "membership readable from")


def adapters(
    *,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table to stdout instead.")] = False,
) -> None:
    """List the architectures that can be audited and what can be said about each.

    Adapters without a name under --adapter are found by themselves.
    """
    from privaudit.adapters import descriptions, installed_names

    rows = descriptions()
    if as_json:
        emit_json(json.dumps({"adapters": [asdict(row) for row in rows], "installed": installed_names()}, indent=1))
    elif markdown:
        emit(markdown_table([list(asdict(row).values()) for row in rows]))
    else:
        shown = [(row.option or "found by itself", row.networks, row.told_by) for row in rows]
        print_table("Architectures", _HEADINGS[:3], shown)
        say("what can be said about each: privaudit adapters --markdown")
        say(f"installed plug-ins: {', '.join(installed_names()) or 'none'}")


def markdown_table(rows: list[list[str]]) -> str:
    """The table of `docs/architectures.md`."""
    lines = ["| " + " | ".join(f"`{name}`" if name == "--adapter" else name for name in _HEADINGS) + " |"]
    lines.append("|" + "---|" * len(_HEADINGS))
    lines += ["| " + " | ".join([f"`{row[0]}`" if row[0] else "found by itself", *row[1:]]) + " |" for row in rows]
    return "\n".join(lines)
