"""Reading pictures and writing files: refusals, permissions, nothing half-written."""

import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from result_builder import LEAK, NO_REFERENCE, Case, build, picture_arrays, write_audit
from safetensors.numpy import save_file

from privaudit.errors import ConfigError, ResultError
from privaudit.report import REPORTS, write_reports
from privaudit.report.pictures import FILE_NAME, read_pictures

Arrays = dict[str, np.ndarray]


def test_writes_every_format_beside_the_result(tmp_path: Path) -> None:
    path = write_audit(tmp_path)
    written = write_reports(path, list(REPORTS), reveal=False)
    assert [p.name for p in written] == ["report.html", "report.md", "result.sarif", "result.junit.xml", "modelcard.md"]
    assert all(p.parent == tmp_path and stat.S_IMODE(p.stat().st_mode) == 0o600 for p in written)


def test_writes_elsewhere_and_each_format_once(tmp_path: Path) -> None:
    path = write_audit(tmp_path / "audit")
    written = write_reports(path, ["junit", "junit"], out=tmp_path / "ci")
    assert written == (tmp_path / "ci" / "result.junit.xml",)


def test_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = write_audit(tmp_path)
    with pytest.raises(ConfigError, match="html, markdown, sarif, junit, modelcard, found pdf"):
        write_reports(path, ["html", "pdf"])
    assert not (tmp_path / "report.html").exists()


def test_machine_formats_do_not_need_pictures(tmp_path: Path) -> None:
    path = write_audit(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"damaged")
    assert write_reports(path, ["sarif"])
    with pytest.raises(ResultError, match="scan again"):
        write_reports(path, ["sarif", "html"], out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("case", [LEAK, NO_REFERENCE])
def test_reads_what_a_scan_writes_and_clips_it(tmp_path: Path, case: Case) -> None:
    result = build(case)
    arrays = picture_arrays(result, case)
    arrays["images"][0] = 1.5
    save_file(arrays, str(tmp_path / FILE_NAME), metadata={"model_sha256": result.model.sha256})
    pictures = read_pictures(tmp_path / FILE_NAME, result)
    assert pictures is not None
    assert pictures.images.max() == 1
    assert (pictures.record_images is None) == (case is NO_REFERENCE)


def test_no_file_means_no_pictures(tmp_path: Path) -> None:
    assert read_pictures(tmp_path / FILE_NAME, build(LEAK)) is None


def _without(name: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__delitem__(name)


def _with(name: str, value: np.ndarray) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__setitem__(name, value)


DAMAGE: dict[str, tuple[Callable[[Arrays], None], str]] = {
    "no images": (_without("images"), "no images"),
    "no confidence": (_without("confidence"), "no confidence"),
    "half of the records": (_without("control_images"), "without control_images"),
    "flat images": (_with("images", np.zeros((60, 768), np.float32)), "instead of float32"),
    "integer images": (_with("images", np.zeros((60, 3, 16, 16), np.uint8)), "instead of float32"),
    "not finite": (_with("images", np.full((60, 3, 16, 16), np.nan, np.float32)), "not finite"),
    "fewer restarts": (_with("restart", np.zeros(3, np.int64)), "restart of shape"),
    "wide confidence": (_with("confidence", np.zeros((60, 2), np.float32)), "confidence of shape"),
    "other size": (_with("record_images", np.zeros((50, 3, 8, 8), np.uint8)), "record_images"),
    "match out of range": (_with("best_match", np.full(60, 50, np.int64)), "outside the 50 records"),
    "record out of range": (_with("record_index", np.full(50, -1, np.int64)), "outside the 50 records"),
    "float index": (_with("record_index", np.zeros(50, np.float32)), "instead of int64"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_pictures_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    result = build(LEAK)
    arrays = picture_arrays(result)
    damage(arrays)
    save_file(arrays, str(tmp_path / FILE_NAME))
    with pytest.raises(ResultError, match=message) as caught:
        read_pictures(tmp_path / FILE_NAME, result)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 100])
def test_what_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ResultError, match="expected reconstructions"):
        read_pictures(tmp_path / FILE_NAME, build(LEAK))


def test_pictures_of_another_model_are_refused(tmp_path: Path) -> None:
    result = build(LEAK)
    save_file(picture_arrays(result), str(tmp_path / FILE_NAME), metadata={"model_sha256": "0" * 64})
    with pytest.raises(ResultError, match="another model"):
        read_pictures(tmp_path / FILE_NAME, result)


def test_fewer_images_than_records_refer_to(tmp_path: Path) -> None:
    result = build(LEAK)
    arrays = {k: v[:20] if len(v) == 60 else v for k, v in picture_arrays(result).items()}
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, str(tmp_path / FILE_NAME))
    with pytest.raises(ResultError, match="fewer than the records refer to"):
        read_pictures(tmp_path / FILE_NAME, result)
