"""The report's table of effects comes from the study in `examples/`, and from nothing else."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from privaudit.study.advice import main, measured, text
from privaudit.study.record import read_record

STUDY = Path(__file__).parents[2] / "examples" / "study" / "study.json"


def test_what_ships_is_made_from_the_study_in_examples():
    shipped = files("privaudit.report").joinpath("data", "measured.json").read_text(encoding="utf-8")
    assert shipped == text(read_record(STUDY)), "python -m privaudit.study.advice examples/study/study.json --write …"


def test_every_number_is_a_count_of_the_study():
    record = read_record(STUDY)
    for effect in measured(record)["effects"]:
        row, point = next(
            (row, point)
            for row in record.rows
            for point in row.points
            if point.label == effect["change"] and row.baseline == effect["baseline"]
            if ("2 classes" in effect["network"]) == (record.cells_at(row.name, point.label)[0].fields["classes"] == 2)
        )
        cells = [cell for cell in record.cells_at(row.name, point.label) if cell.status == "done"]
        assert len(cells) >= 3
        found, total = (sum(getattr(cell.counts, name) for cell in cells) for name in ("members_leaked", "members"))
        assert effect["rebuilt"].startswith(f"{found} of {total} (")
        accuracy = sum(cell.training.held_out_accuracy for cell in cells) / len(cells)
        assert effect["accuracy"] == f"{accuracy:.0%}".replace("%", " %")


def test_what_lowers_comes_first_and_other_data_is_left_out():
    found = measured(read_record(STUDY))["effects"]
    order = ["less is rebuilt", "no difference shown", "more is rebuilt"]
    ranks = [order.index(effect["difference"]) for effect in found]
    assert ranks == sorted(ranks) and len(set(ranks)) == 3
    assert not any(effect["baseline"] == "faces and backgrounds" for effect in found)
    assert {effect["network"] for effect in found} >= {"MLP 1000-1000, 20 images of 2 classes of cifar10"}


def test_a_setting_with_fewer_than_three_seeds_is_left_out(tmp_path):
    document = json.loads(STUDY.read_text(encoding="utf-8"))
    labels = [effect["change"] for effect in measured(read_record(STUDY))["effects"]]
    for row in document["rows"]:
        for point in row["points"]:
            if point["label"] == labels[0]:
                point["pooled"]["rebuilt"]["by_seed"] = [0.1, 0.2]
    (tmp_path / "study.json").write_text(json.dumps(document), encoding="utf-8")
    left = [effect["change"] for effect in measured(read_record(tmp_path / "study.json"))["effects"]]
    assert labels[0] not in left and set(left) < set(labels)
    for row in document["rows"]:
        for point in row["points"]:
            point["pooled"]["rebuilt"]["by_seed"] = []
    (tmp_path / "study.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="expected two points of a row"):
        measured(read_record(tmp_path / "study.json"))


def test_the_command_prints_or_writes_it(tmp_path, capsys):
    assert main([str(STUDY)]) == 0
    printed = capsys.readouterr().out
    assert main([str(STUDY), "--write", str(tmp_path / "m.json")]) == 0
    assert (tmp_path / "m.json").read_text(encoding="utf-8") == printed == text(read_record(STUDY))
