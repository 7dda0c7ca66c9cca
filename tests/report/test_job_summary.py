"""The summary of a GitHub Actions job: appended to, within its limit, nowhere else."""

import os
from pathlib import Path

import pytest
from result_builder import LEAK, build, decision, write_audit

from privaudit.errors import ConfigError, OutputError, ResultError
from privaudit.report import append_job_summary, read_decision, summarise_job
from privaudit.report.job_summary import LIMIT_BYTES, VARIABLE


def test_it_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    monkeypatch.setenv(VARIABLE, str(summary))
    path = write_audit(tmp_path / "audit", LEAK)
    assert summarise_job(path) == summary
    assert summarise_job(path, decision(build(LEAK))) == summary
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("# Before\n## 🔺 privaudit: leak found\n") and text.count("## 🔺") == 2
    assert text.count("The gate does not pass") == 1


@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}])
def test_without_a_job_it_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="leave out --job-summary"):
        append_job_summary("text", environ)


def test_it_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OutputError, match="expected a file that can be written"):
        append_job_summary("text", {VARIABLE: str(tmp_path / "link")})
    assert (tmp_path / "target").read_text() == "mine"


def test_it_writes_to_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "", "none/there"):
        with pytest.raises(OutputError) as caught:
            append_job_summary("text", {VARIABLE: f"{tmp_path}/{name}"})
        assert "\n" not in str(caught.value)


def test_it_keeps_below_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (LIMIT_BYTES - 10))
    with pytest.raises(OutputError, match="in a step of its own"):
        append_job_summary("more than ten bytes", {VARIABLE: str(path)})
    append_job_summary("€", {VARIABLE: str(path)})
    assert path.stat().st_size == LIMIT_BYTES - 10 + 5


@pytest.mark.parametrize("content", ["", "{}", "[]", "text", '{"schema_version": "2.0"}', None])
def test_what_is_no_decision_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ResultError, match="gate") as caught:
        read_decision(path)
    assert "\n" not in str(caught.value)


def test_a_decision_is_read_as_it_was_written(tmp_path: Path) -> None:
    decided = decision(build(LEAK))
    (tmp_path / "gate.json").write_text(decided.model_dump_json())
    assert read_decision(tmp_path / "gate.json") == decided
