"""Digests of cells: the same for the same, another one for whatever decides the outcome."""

from pathlib import Path

import numpy as np
import pytest
from study_cases import rows

from privaudit.study import fingerprint
from privaudit.study.fingerprint import cell_digest
from privaudit.study.recipe import Recipe


def test_settings_seeds_and_scan_count():
    digests = [cell.digest for row in rows() for cell in row.cells]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 16 for digest in digests)
    assert digests == [cell.digest for row in rows() for cell in row.cells]
    one = Recipe(data="digits")
    assert cell_digest(one, {"budget": "quick"}) != cell_digest(one, {"budget": "standard"})
    assert cell_digest(one, {}) != cell_digest(one.model_copy(update={"weight_decay": 0.5}), {})


def test_names_of_rows_do_not_count():
    text = '[[row]]\nname = "{}"\n[row.train]\ndata = "digits"\n'
    assert rows(text.format("a"))[0].cells[0].digest == rows(text.format("b"))[0].cells[0].digest


def test_the_version_counts(monkeypatch: pytest.MonkeyPatch):
    before = cell_digest(Recipe(data="digits"), {})
    monkeypatch.setattr(fingerprint, "__version__", "9.9.9")
    assert cell_digest(Recipe(data="digits"), {}) != before


def test_contents_count_and_places_do_not(tmp_path: Path):
    for name, value in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / f"{name}.npz", images=np.full((1, 1, 8, 8), value))
    a, b, c = (cell_digest(Recipe(data=str(tmp_path / name / f"{name}.npz")), {}) for name in "abc")
    assert a == b != c
    assert cell_digest(Recipe(data=f"{tmp_path / 'a' / 'a.npz'}:member"), {}) != a


def test_folders_count_by_names_and_sizes(tmp_path: Path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "xy")):
        (tmp_path / name / "class").mkdir(parents=True)
        (tmp_path / name / "class" / "1.png").write_text(text)
    a, b, c = (cell_digest(Recipe(data=str(tmp_path / name)), {}) for name in "abc")
    assert a == b != c


def test_code_counts_by_its_text(tmp_path: Path):
    digests = []
    for name, text in (("a.py", "1"), ("b.py", "1"), ("c.py", "2")):
        (tmp_path / name).write_text(f"loss = {text}\n")
        digests.append(cell_digest(Recipe(data="digits", loss=f"{tmp_path / name}:loss"), {}))
    assert digests[0] == digests[1] != digests[2]
