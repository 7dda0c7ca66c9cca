"""The summary page of a GitHub Actions job: a Markdown file named by a variable, to which steps append.

In: Markdown and the environment. Out: the text at the end of that file. Must not know results.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from privaudit.errors import ConfigError, OutputError

VARIABLE = "GITHUB_STEP_SUMMARY"
LIMIT_BYTES = 1024 * 1024
"""Of one step; GitHub drops the whole summary of a step that writes more (workflow commands, step isolation)."""


def append_job_summary(text: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Append to the job's summary and return its path.

    Raises:
        ConfigError: no job is running, so the variable is not set.
        OutputError: the file is a link or no file, cannot be written, or would grow too large.
    """
    name = environ.get(VARIABLE, "")
    if not name:
        raise ConfigError(
            f"expected {VARIABLE} to name a file, found it not set; leave out --job-summary outside of GitHub Actions"
        )
    data = f"{text.rstrip()}\n\n".encode()
    # A link could lead the report of a leak anywhere that this user can write.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(name, flags, 0o600), "ab") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise OutputError(f"expected a file at {name} ({VARIABLE}), found something else; unset the variable")
            if state.st_size + len(data) > LIMIT_BYTES:
                raise OutputError(
                    f"expected at most {LIMIT_BYTES} bytes in {name}, found {state.st_size} and {len(data)} more; "
                    "write the summary in a step of its own"
                )
            stream.write(data)
    except OSError as error:
        raise OutputError(
            f"expected a file that can be written at {name} ({VARIABLE}), found: {error.strerror}; "
            "leave out --job-summary"
        ) from None
    return Path(name)
