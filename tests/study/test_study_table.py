"""The tidy table, read back by others, and study.json."""

import builtins
import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from study_cases import fill, rows

from privaudit.errors import ResultError
from privaudit.study.record import RECORD_FILE, StudyRecord, read_record, record_of, write_record
from privaudit.study.table import columns, write_table


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    some = rows()
    fill(tmp_path, some)
    return record_of(some, tmp_path, "T", "small", "privaudit study grid.toml")


def test_one_line_a_cell_in_both_forms(tmp_path: Path, record: StudyRecord):
    paths = write_table(tmp_path, record)
    assert [path.name for path in paths] == ["study.csv", "study.parquet"]
    with (tmp_path / "study.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    table = pq.read_table(tmp_path / "study.parquet")
    assert len(lines) == table.num_rows == len(record.cells) == 14
    assert list(lines[0]) == table.column_names
    for line, packed in zip(lines, table.to_pylist(), strict=True):
        for name, value in packed.items():
            if value is None:
                assert line[name] == ""
            elif isinstance(value, bool):
                assert line[name] == str(value).lower()
            elif isinstance(value, float):
                assert float(line[name]) == value
            else:
                assert line[name] == str(value)


def test_columns_and_their_kinds(tmp_path: Path, record: StudyRecord):
    write_table(tmp_path, record)
    schema = pq.read_schema(tmp_path / "study.parquet")
    expected = {
        "row": pa.string(),
        "point": pa.string(),
        "is_baseline": pa.bool_(),
        "seed": pa.int64(),
        "status": pa.string(),
        "reason": pa.string(),
        "weight_decay": pa.float64(),
        "images_per_class": pa.int64(),
        "init": pa.string(),
        "loss": pa.string(),
        "held_out_accuracy": pa.float64(),
        "epsilon": pa.float64(),
        "members": pa.int64(),
        "controls_leaked": pa.int64(),
        "ssim_threshold": pa.float64(),
        "membership_applicable": pa.bool_(),
        "verdict": pa.string(),
        "attack_seconds": pa.float64(),
        "seconds": pa.float64(),
    }
    assert {name: schema.field(name).type for name in expected} == expected
    assert "hidden" not in schema.names, "a setting that does not vary"
    assert "ssim" not in schema.names
    assert len(set(schema.names)) == len(schema.names)


def test_values(record: StudyRecord):
    table = {column.name: column.values for column in columns(record)}
    failed = table["status"].index("failed")
    assert table["reason"][failed] == "killed by signal 9 (SIGKILL), which the system sends when memory runs out"
    assert table["members_leaked"][failed] is None
    assert table["weight_decay"][failed] == 1e-4
    assert table["is_baseline"][:4] == (True, True, True, False)
    assert table["members_leaked"][:3] == (2, 3, 2)
    assert table["images_per_class"] == (5,) * 12 + (None,) * 2


def test_widths_are_numbers_too(tmp_path: Path):
    some = rows('[train]\ndata = "digits"\n[grid]\nhidden = [[30], [30, 60]]\n')
    table = {column.name: column for column in columns(record_of(some, tmp_path, "T", "small", ""))}
    assert table["hidden"].values == ("30",) * 3 + ("30-60",) * 3
    assert (table["width"].values[-1], table["depth"].values[-1]) == (60, 2)
    assert table["status"].values == ("not_run",) * 6


def test_without_pyarrow_the_csv_is_written(tmp_path: Path, record: StudyRecord, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "study.parquet").write_text("of an earlier run")
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert [path.name for path in write_table(tmp_path, record)] == ["study.csv"]
    assert not (tmp_path / "study.parquet").exists()


def test_the_record_is_read_back(tmp_path: Path, record: StudyRecord):
    write_record(tmp_path / RECORD_FILE, record)
    assert read_record(tmp_path / RECORD_FILE) == record
    document = json.loads((tmp_path / RECORD_FILE).read_text())
    assert document["rows"][0]["points"][2]["separation"] == {
        "other": "weight decay 0",
        "status": "separated",
        "direction": "above",
    }
    assert document["rows"][0]["points"][1]["separation"]["status"] == "fewer_than_three_seeds"
    assert document["rows"][0]["points"][3]["separation"]["status"] == "not_separated"
    assert document["rows"][0]["varied"] == ["weight_decay", "init"]
    assert len(document["cells"][0]["counts"]["ssim"]) == 20


def test_the_record_holds_no_folder_of_the_machine(tmp_path: Path):
    import numpy as np

    (tmp_path / "secret").mkdir()
    np.savez(tmp_path / "secret" / "mine.npz", images=np.zeros((1, 1, 8, 8)))
    (tmp_path / "secret" / "mine.py").write_text("")
    text = '[train]\ndata = "secret/mine.npz"\nloss = "secret/mine.py:loss"\n[scan]\nadapter = "secret/mine.py:f"\n'
    some = rows(text, folder=tmp_path, allows_code=True)
    fill(tmp_path / "out", some)
    record = record_of(some, tmp_path / "out", "T", "small", "")
    assert "secret" not in record.model_dump_json()
    assert record.cells[0].fields["data"] == "mine.npz"
    assert record.cells[0].status == "done"


@pytest.mark.parametrize(("text", "words"), [("{", "expected JSON"), ('{"title": 3}', "expected a valid field")])
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str, words: str):
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(ResultError, match=words):
        read_record(tmp_path / RECORD_FILE)
    with pytest.raises(ResultError, match="run the study first"):
        read_record(tmp_path / "none.json")
