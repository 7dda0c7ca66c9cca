"""The HTML report printed to a PDF by a Chromium that the machine already has.

In: a written HTML file. Out: a PDF beside it. Knows neither results nor templates. The page runs no scripts and loads
nothing, so the browser needs no network and no profile.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from privaudit.errors import ConfigError, OutputError
from privaudit.result_file import write_private
from privaudit.text import one_line

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
"""Looked for on PATH in this order; `BROWSER_VARIABLE` names another one."""

BROWSER_VARIABLE = "PRIVAUDIT_BROWSER"

_TIMEOUT_S = 180
"""Seconds; a report of 500 records takes a few."""


def find_browser() -> str:
    """Path of a Chromium.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get(BROWSER_VARIABLE)
    candidates = (named,) if named else BROWSERS
    for name in candidates:
        found = shutil.which(name)
        if found:
            return found
    raise ConfigError(
        f"expected a Chromium for --pdf, found none of {', '.join(candidates)} on PATH; install one, name it in "
        f"{BROWSER_VARIABLE}, or print report.html from any browser"
    )


def write_pdf(html: Path, browser: str) -> Path:
    """Print `html` on A4 by its print style; returns the path of the PDF, readable by its owner only.

    Raises:
        OutputError: the browser failed, took too long or wrote nothing, or the folder cannot be written.
    """
    target = html.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(prefix="privaudit-pdf-", ignore_cleanup_errors=True) as folder:
        printed = Path(folder, "report.pdf")
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", f"--user-data-dir={Path(folder, 'profile')}",
            "--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={printed}",
            *_sandbox(), html.resolve().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise OutputError(f"expected {browser} to print within {_TIMEOUT_S} s, found it still running") from None
        except OSError as error:
            raise OutputError(f"expected to run {browser}, found: {error.strerror}; name another browser") from None
        if done.returncode != 0 or not printed.is_file():
            last = one_line(done.stderr.decode("utf-8", "replace").strip()[-300:])
            raise OutputError(
                f"expected a PDF from {browser}, found exit {done.returncode}: {last}; print {html} by hand"
            )
        write_private(target, printed.read_bytes())
    return target


def _sandbox() -> list[str]:
    """Chromium refuses its sandbox to root, as in most containers; the page holds no script that it would confine."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
