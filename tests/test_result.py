"""`result.json`: round trip, refusals with one clear line, whole-or-nothing writing."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError
from result_builder import LEAK, NO_REFERENCE, Case, build, write_audit

from privaudit.errors import OutputError, ResultError
from privaudit.result import Attack
from privaudit.result_file import read_result, sealed, to_json, write_private


@pytest.mark.parametrize("case", [LEAK, NO_REFERENCE])
def test_round_trip(tmp_path: Path, case: Case) -> None:
    assert read_result(write_audit(tmp_path, case, with_pictures=False)) == build(case)


def test_schema_version_comes_first() -> None:
    assert next(iter(json.loads(to_json(build(LEAK))))) == "schema_version"


def _edited(tmp_path: Path, **changes: object) -> Path:
    path = write_audit(tmp_path, LEAK, with_pictures=False)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_edited_file_is_refused(tmp_path: Path) -> None:
    path = write_audit(tmp_path, LEAK, with_pictures=False)
    document = json.loads(path.read_text())
    document["evidence"]["calibrated_threshold"]["members_leaked"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(ResultError, match="found it edited"):
        read_result(path)


@pytest.mark.parametrize("version", ["2", None, 1])
def test_unknown_schema_is_refused(tmp_path: Path, version: object) -> None:
    with pytest.raises(ResultError, match="expected schema_version '1'"):
        read_result(_edited(tmp_path, schema_version=version))


def test_unknown_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="surprise"):
        read_result(_edited(tmp_path, surprise=1))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"text"'])
def test_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ResultError) as caught:
        read_result(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such file"):
        read_result(tmp_path / "nothing.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(tmp_path: Path, value: float) -> None:
    attack = build(LEAK).attack.model_dump()
    with pytest.raises(ValidationError):
        Attack.model_validate({**attack, "seconds": value})
    with pytest.raises(ResultError, match=r"found: the number (NaN|Infinity)"):
        read_result(_edited(tmp_path, attack={**attack, "seconds": value}))


def test_no_nan_is_written_whatever_the_settings_hold() -> None:
    result = build(LEAK)
    reproduce = result.reproduce.model_copy(update={"config": {"fpr": float("nan")}})
    text = to_json(result.model_copy(update={"reproduce": reproduce}))
    assert json.loads(text, parse_constant=pytest.fail)["reproduce"]["config"] == {"fpr": None}


def test_seal_does_not_depend_on_itself() -> None:
    result = build(LEAK)
    assert sealed(result) == result


def test_writing_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.bin"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["file.bin"]  # noqa: PTH208


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    write_private(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_unwritable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another --out"):
        write_private(tmp_path / "file" / "result.json", b"")


def test_a_result_from_before_the_membership_tests_parts_still_loads(tmp_path: Path) -> None:
    document = json.loads(to_json(build()))
    for name in ("parts", "operating_points"):
        del document["evidence"]["membership"][name]
    body = {key: value for key, value in document.items() if key != "self_sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    document["self_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_result(path).evidence.membership.parts == ()
