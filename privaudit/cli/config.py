"""`privaudit config`: the effective settings of a scan and where each came from."""

import json
import os
from pathlib import Path

from privaudit.cli.console import emit_json, print_table
from privaudit.cli.options import AsJson, ModelArgument, Verbose, with_scan_options


@with_scan_options()
def config(model: ModelArgument, *, as_json: AsJson = False, verbose: Verbose = 0, **settings: object) -> None:
    """Print the settings a scan would use and their origins.

    Takes the options of scan.
    Precedence: command line, PRIVAUDIT_* variables, privaudit.toml beside MODEL or above it (table [scan]), default.
    """
    from privaudit.config import load_settings

    effective, origins = load_settings(model, settings, os.environ, Path.cwd())
    values = effective.model_dump(mode="json")
    if as_json:
        document = {name: {"value": value, "origin": origins[name]} for name, value in values.items()}
        emit_json(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        rows = [(name, _plain(value), origins[name]) for name, value in values.items()]
        print_table("Settings of a scan", ("setting", "value", "from"), rows)


def _plain(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
