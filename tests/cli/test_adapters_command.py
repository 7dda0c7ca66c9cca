"""`privaudit adapters`: for people, for machines and for the documentation."""

import json

from privaudit.cli import run


def test_json_lists_every_family(capsys):
    assert run(["adapters", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [row["option"] for row in document["adapters"]] == [
        "", "", "", "torchvision:NAME", "timm:NAME", "FILE.py:FUNCTION", "NAME",
    ]  # fmt: skip
    assert document["installed"] == [] and captured.err == ""


def test_people_read_stderr(capsys):
    assert run(["adapters"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "torchvision" in captured.err and "installed plug-ins: none" in captured.err
