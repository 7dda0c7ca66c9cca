"""`result.json`: round trip, refusals with one clear line, whole-or-nothing writing."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    "version", ["2", "2.0", "0.9", "1.x", "1.", "1.1.0", " 1", "1\n", "1." + "9" * 5000, None, 1, 1.1]
)
def test_unknown_schema_is_refused(tmp_path: Path, version: object) -> None:
    with pytest.raises(ResultError, match=r"expected schema_version '1\.1' or another 1\.x") as caught:
        read_result(_edited(tmp_path, schema_version=version))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


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


def _resealed(tmp_path: Path, document: dict[str, Any]) -> Path:
    body = {key: value for key, value in document.items() if key != "self_sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**body, "self_sha256": hashlib.sha256(text.encode()).hexdigest()}), encoding="utf-8")
    return path


@pytest.mark.parametrize("version", ["1", "1.0", "1.1", "1.2"])
def test_every_minor_version_is_read_and_kept(tmp_path: Path, version: str) -> None:
    path = _resealed(tmp_path, {**json.loads(to_json(build())), "schema_version": version})
    result = read_result(path)
    assert result.schema_version == version
    assert result.self_sha256 == json.loads(path.read_text())["self_sha256"]


def _with_additions(version: str) -> dict[str, Any]:
    document: dict[str, Any] = {**json.loads(to_json(build())), "schema_version": version, "added": {"deep": [1]}}
    document["evidence"]["records"][3]["added"] = 0.5
    document["evidence"]["membership"]["exposure"]["added"] = None
    document["verdict"]["findings"][1]["added"] = "text"
    return document


def test_fields_of_a_newer_minor_version_are_left_out_and_sealed(tmp_path: Path) -> None:
    path = _resealed(tmp_path, _with_additions("1.7"))
    result = read_result(path)
    assert result.model_dump(exclude={"schema_version", "self_sha256"}) == build().model_dump(
        exclude={"schema_version", "self_sha256"}
    )
    edited = json.loads(path.read_text())
    edited["evidence"]["records"][3]["added"] = 0.6
    path.write_text(json.dumps(edited))
    with pytest.raises(ResultError, match="found it edited"):
        read_result(path)


@pytest.mark.parametrize("version", ["1", "1.0", "1.1"])
def test_fields_that_its_own_version_does_not_have_are_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(ResultError, match="added"):
        read_result(_resealed(tmp_path, _with_additions(version)))


def test_a_newer_minor_version_excuses_additions_only(tmp_path: Path) -> None:
    document = _with_additions("1.7")
    document["attack"]["seconds"] = "long"
    with pytest.raises(ResultError, match=r"attack\.seconds"):
        read_result(_resealed(tmp_path, document))
    document = _with_additions("1.7")
    del document["attack"]["seconds"]
    with pytest.raises(ResultError, match=r"attack\.seconds"):
        read_result(_resealed(tmp_path, document))


def test_a_result_from_before_the_membership_tests_parts_still_loads(tmp_path: Path) -> None:
    document = json.loads(to_json(build()))
    for name in ("parts", "operating_points"):
        del document["evidence"]["membership"][name]
    assert read_result(_resealed(tmp_path, document)).evidence.membership.parts == ()
