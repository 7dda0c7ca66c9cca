"""Options of a command to effective settings, saying what else had a part in them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from privaudit.cli.console import say

if TYPE_CHECKING:
    from privaudit.config import ScanSettings


def effective_settings(model: Path, given: Mapping[str, object], is_quiet: bool, verbosity: int) -> "ScanSettings":
    """Settings by precedence; names on stderr every setting that a file or the environment decided.

    A file beside a checkpoint may come from whoever sent the checkpoint, so its part is never hidden: an allowance in
    it decides the exit code.
    """
    from privaudit.config import COMMAND_LINE, DEFAULT, load_settings
    from privaudit.config_sources import runs_code

    settings, origins = load_settings(model, given, os.environ, Path.cwd())
    if not is_quiet:
        for name, origin in origins.items():
            if verbosity > 0 or origin not in (COMMAND_LINE, DEFAULT):
                say(f"setting {name} = {getattr(settings, name)} (from: {origin})")
        if runs_code(settings.adapter):
            say(f"running code from {settings.adapter} (named by --adapter)")
    return settings
