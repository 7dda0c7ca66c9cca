"""Reports in a real browser: a Chromium from the system, driven by Playwright; without one these tests are skipped."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

from privaudit.report.pdf import BROWSERS

FOUND = next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if FOUND is None:
        pytest.skip("no Chromium on this machine")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=FOUND, args=["--no-sandbox", "--disable-gpu"]) as running,
    ):
        yield running
