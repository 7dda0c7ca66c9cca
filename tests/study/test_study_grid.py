"""Grid files: what they come to, and every refusal in one line before anything runs."""

import re
from pathlib import Path

import numpy as np
import pytest
from study_cases import GRID, rows

from privaudit.errors import ConfigError, DataError, PrivauditError
from privaudit.study.cells import cells_of
from privaudit.study.grid_file import paper_grid, parse_grid, read_grid_file


def test_rows_points_and_seeds():
    decay, losses = rows()
    assert (decay.name, decay.title, decay.gpu_minutes, decay.baseline) == (
        "decay",
        "Weight decay <two> classes",
        40,
        "weight decay 0",
    )
    points = ["weight decay 0", "weight decay 0.0001", "weight decay 0.01", "weight decay 0, small first layer"]
    assert [(cell.point, cell.seed) for cell in decay.cells] == [
        (point, seed) for point in points for seed in (0, 1, 2)
    ]
    assert [cell.is_named for cell in decay.cells] == [False] * 9 + [True] * 3
    first = decay.cells[1]
    assert (first.recipe.seed, first.recipe.data_seed, first.scan) == (1, 1, {"seed": 1, "budget": "quick"})
    assert first.recipe.hidden == (30,)
    assert first.recipe.images_per_class == 5
    assert [(cell.point, cell.seed) for cell in losses.cells] == [("loss mse", 0), ("loss huber", 0)]
    assert losses.title == "losses"


def test_a_file_without_rows_is_one_row():
    (row,) = rows('title = "T"\n[train]\ndata = "digits"\n[grid]\nhidden = [[30], [30, 30]]\nscan.restarts = [1, 2]\n')
    assert (row.name, row.title, len(row.cells)) == ("study", "T", 12)
    assert row.cells[0].point == "hidden 30, restarts 1"
    assert row.cells[-1].scan == {"seed": 2, "restarts": 2}
    (single,) = rows('[train]\ndata = "digits"\n')
    assert [cell.seed for cell in single.cells] == [0, 1, 2]


def test_given_seeds_of_data_and_scan_stay():
    (row,) = rows("seeds = [3, 4]\n[train]\ndata_seed = 7\n[scan]\nseed = 9\n[grid]\nweight_decay = [0.1]\n")
    assert [(cell.recipe.seed, cell.recipe.data_seed, cell.scan["seed"]) for cell in row.cells] == [
        (3, 7, 9),
        (4, 7, 9),
    ]


def test_full_replaces_what_it_names():
    text = GRID.replace(
        '[[row]]\nname = "losses"',
        """[row.full]
seeds = [5]
[row.full.train]
images_per_class = 50
[row.full.grid]
weight_decay = [0.0, 1.0]
[[row]]
name = "losses\"""",
    )
    small, full = rows(text)[0], rows(text, is_full=True)[0]
    assert len(small.cells) == 12
    assert [cell.point for cell in full.cells] == [
        "weight decay 0",
        "weight decay 1",
        "weight decay 0, small first layer",
    ]
    assert {(cell.seed, cell.recipe.images_per_class) for cell in full.cells} == {(5, 50)}


def test_choices_of_the_command_line(tmp_path: Path):
    text = GRID.replace('data = "digits"', 'data = "$images"', 1) + '\n[data]\nimages = "digits"\n'
    np.savez(tmp_path / "mine.npz", images=np.zeros((1, 1, 8, 8)))
    (row,) = rows(text, rows=("losses",), data={"images": str(tmp_path / "mine.npz")}, seeds=(7, 8))
    assert [cell.seed for cell in row.cells] == [7, 8, 7, 8]
    assert {cell.recipe.data for cell in row.cells} == {str(tmp_path / "mine.npz")}
    assert {cell.source for cell in row.cells} == {"images"}
    assert {cell.recipe.data for cell in rows(text)[0].cells} == {"digits"}


def test_relative_paths_are_relative_to_the_file(tmp_path: Path):
    np.savez(tmp_path / "mine.npz", images=np.zeros((1, 1, 8, 8)))
    (row,) = rows('[train]\ndata = "mine.npz"\n', folder=tmp_path)
    assert row.cells[0].recipe.data == str(tmp_path / "mine.npz")
    assert row.cells[0].source == "mine.npz"


ROW = '[[row]]\nname = "a"\n'
REFUSED = {
    "no TOML": ("title = ", "expected TOML in grid.toml"),
    "unknown key": ('titel = "x"', "found 'titel'; the nearest is 'title'"),
    "unknown key of a row": (ROW + "sedes = [0]", "found 'row.0.sedes'; the nearest is 'seeds'"),
    "unknown key of full": (ROW + "[row.full]\nbaseline = 'x'", "found 'row.0.full.baseline'"),
    "unknown setting of training": ("[train]\nweight_dekay = 0.1", "expected a setting of training"),
    "unknown setting of the scan": ("[scan]\nbugdet = 'quick'", "found 'bugdet'; the nearest is 'budget'"),
    "a setting the study decides": ("[scan]\nout = 'x'", "that a study leaves open"),
    "value out of range": ("[train]\nweight_decay = -1.0", "--weight-decay of at least 0, found -1.0"),
    "value of the scan out of range": ("[scan]\nfpr = 2.0", "--fpr between 0 and 1"),
    "contradiction in one point": ("[grid]\nlabel_noise = [0.0, 1.5]", "point 'label noise 1.5'"),
    "nothing asked": ('title = "x"', "expected a grid, a point, a row or settings, found none"),
    "a seed that is too large": ("seeds = [0, 4611686018427387904]", "expected seeds below 2^62"),
    "minutes without end": (ROW + "gpu_minutes = inf", "gpu_minutes"),
    "a number that is none": ("[train]\nweight_decay = nan", "--weight-decay of at least 0, found nan"),
    "empty list": ("[grid]\nweight_decay = []", "expected a list with at least one value for weight_decay"),
    "no list": ("[grid]\nweight_decay = 0.1", "expected a list with at least one value for weight_decay"),
    "grid over seeds": ("[grid]\nseed = [0, 1]", "expected seeds = [...]"),
    "seed as a setting": ("[train]\nseed = 1", "expected seeds = [...]"),
    "no seed": ("seeds = []", "expected at least one seed"),
    "a seed twice": ("seeds = [1, 1]", "none twice"),
    "negative seed": ("seeds = [-1]", "seeds"),
    "seed as text": ("seeds = ['1']", "seeds"),
    "two rows of a name": (ROW + ROW, "found 'a' twice"),
    "bad name": ('[[row]]\nname = "../a"', "expected the name of a row"),
    "grid beside rows": ("[grid]\nweight_decay = [0.1]\n" + ROW, "expected grid inside a [[row]]"),
    "a value twice": ("[grid]\nweight_decay = [0.1, 0.1]", "found 'weight decay 0.1' twice"),
    "equal points": (
        "[grid]\nweight_decay = [0.1]\n[[point]]\nlabel = 'same'\nweight_decay = 0.1",
        "with the same settings",
    ),
    "label that is no text": ("[[point]]\nlabel = 3", "expected a label of text"),
    "baseline that is none": ("baseline = 'x'\n[grid]\nweight_decay = [0.1]", "expected the baseline of row 'study'"),
    "unknown data": ("[train]\ndata = '$mine'", "expected '$mine' of row 'study'"),
    "code": ("[train]\nloss = 'mine.py:loss'", "give --allow-code if you trust that file"),
    "code of the scan": ("[scan]\nadapter = 'mine.py:factory'", "give --allow-code"),
    "missing file": ("[train]\ndata = 'missing.npz'", "expected a file or folder at"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_line(name: str):
    text, words = REFUSED[name]
    with pytest.raises(PrivauditError) as caught:
        rows(text)
    assert isinstance(caught.value, ConfigError | DataError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refusals_of_choices():
    with pytest.raises(ConfigError, match="--row as one of decay, losses, found 'x'"):
        rows(rows=("x",))
    with pytest.raises(ConfigError, match="which has none, found 'cifar10'"):
        rows(data={"cifar10": "digits"})


def test_an_optional_row_runs_where_it_or_its_data_are_named():
    text = '[data]\nmine = "digits"\n[[row]]\nname = "a"\n[[row]]\nname = "b"\noptional = true\n' + (
        '[row.train]\ndata = "$mine"\n'
    )
    assert [row.name for row in rows(text)] == ["a"]
    assert [row.name for row in rows(text, rows=("b",))] == ["b"]
    assert [row.name for row in rows(text, data={"mine": "faces"})] == ["a", "b"]


def test_a_grid_knows_whether_it_has_a_published_size():
    assert paper_grid().has_full
    assert not parse_grid('[[row]]\nname = "a"', "").has_full


def test_code_is_allowed_when_asked_for(tmp_path: Path):
    (tmp_path / "mine.py").write_text("def loss(outputs, targets): ...\n")
    (row,) = rows("[train]\nloss = 'mine.py:loss'", allows_code=True, folder=tmp_path)
    assert row.cells[0].recipe.loss == f"{tmp_path / 'mine.py'}:loss"


def test_a_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(ConfigError, match="name a TOML file or --paper"):
        read_grid_file(tmp_path / "none.toml")


@pytest.mark.parametrize("is_full", [False, True])
def test_the_shipped_table_is_valid(is_full: bool):
    from privaudit.study.cells import Choices, rows_of

    found = rows_of(paper_grid(), Choices(is_full=is_full))
    assert len(found) >= 10
    assert all(row.gpu_minutes and row.shows for row in found)
    assert all(row.published for row in found[:7])
    seeds = {row.name: {cell.seed for cell in row.cells} for row in found}
    assert {len(seeds[name]) for name in ("weight-decay-2", "weight-decay-10")} == {3}
    sizes = {row.name: row.cells[0].recipe for row in found}
    assert sizes["multiclass"].images_per_class == (50 if is_full else 4)
    assert len({cell.digest for cell in cells_of(found)}) < (300 if is_full else 100)


def test_the_shipped_table_names_no_path():
    from importlib.resources import files

    text = files("privaudit.study").joinpath("data", "paper.toml").read_text(encoding="utf-8")
    assert not re.search(r'"[^"$]*/[^"]*"', text)
