"""`--pdf`: a Chromium prints the page, and every way in which there is none is one clear line."""

import shutil
import stat
from pathlib import Path

import pytest
from result_builder import write_audit

from privaudit.errors import ConfigError, OutputError
from privaudit.report import write_reports
from privaudit.report.pdf import BROWSER_VARIABLE, BROWSERS

HAS_BROWSER = any(shutil.which(name) for name in BROWSERS)


def browser(folder: Path, script: str) -> Path:
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_no_browser_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audit(tmp_path)
    monkeypatch.setenv(BROWSER_VARIABLE, "no-such-browser")
    with pytest.raises(ConfigError, match="found none of no-such-browser on PATH; install one"):
        write_reports(path, ["html"], pdf=True)
    assert not (tmp_path / "report.html").exists()


def test_pdf_needs_html(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected html among the formats"):
        write_reports(write_audit(tmp_path), ["markdown"], pdf=True)


@pytest.mark.parametrize("script", ["echo broken >&2; exit 3", "exit 0"])
def test_a_browser_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = write_audit(tmp_path / "audit")
    monkeypatch.setenv(BROWSER_VARIABLE, str(browser(tmp_path, script)))
    with pytest.raises(OutputError, match="expected a PDF from"):
        write_reports(path, ["html"], pdf=True)
    assert (tmp_path / "audit" / "report.html").is_file()  # which the line says to print by hand
    assert not (tmp_path / "audit" / "report.pdf").exists()


def test_the_browser_is_given_the_page_and_a_profile_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'for a in "$@"; do case "$a" in --print-to-pdf=*) echo "$@" > "${a#*=}";; esac; done'
    monkeypatch.setenv(BROWSER_VARIABLE, str(browser(tmp_path, script)))
    page, pdf = write_reports(write_audit(tmp_path / "audit"), ["html"], pdf=True)
    given = pdf.read_text(encoding="utf-8")
    assert page.as_uri() in given
    assert "--user-data-dir=" in given
    assert stat.S_IMODE(pdf.stat().st_mode) == 0o600


@pytest.mark.skipif(not HAS_BROWSER, reason="no Chromium on this machine")
def test_a_real_browser_prints_pages(tmp_path: Path) -> None:
    _, pdf = write_reports(write_audit(tmp_path), ["html"], reveal=True, pdf=True)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert 10_000 < len(content) < 3_000_000
