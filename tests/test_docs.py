"""What the documentation says about the program is what the program says."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
import torch
from result_builder import LEAK, Case, build
from test_gate_tricks import seal

from privaudit import evidence
from privaudit.adapters import build_target, descriptions
from privaudit.adapters.interface import InputOptions
from privaudit.checkpoint import Checkpoint
from privaudit.cli import run
from privaudit.cli.adapters import markdown_table
from privaudit.config import Format
from privaudit.report import REPORTS, ReportOptions
from privaudit.result_file import to_json

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")


def test_the_table_of_architectures_is_that_of_the_registry() -> None:
    """To write it anew: privaudit adapters --markdown."""
    shown = PAGE.split("<!-- table -->\n")[1].split("<!-- end -->")[0].strip()
    assert shown == markdown_table([list(asdict(row).values()) for row in descriptions()])


def test_every_adapter_is_described() -> None:
    assert all(all(value for key, value in asdict(row).items() if key != "option") for row in descriptions())


def test_the_adapter_of_ten_lines_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n# mynet.py\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None and len(code[1].strip().splitlines()) <= 10
    path = tmp_path / "mynet.py"
    path.write_text(code[1])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    scope: dict[str, object] = {}
    exec(code[1], scope)
    state = scope["factory"]().state_dict()  # type: ignore[operator]
    target = build_target(Checkpoint(Path("m"), state, "", "torch-zip", {}), f"{path}:factory", InputOptions())
    assert target.outputs(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_the_sample_of_compare_is_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But for the ids, which depend on the salt: of these only the form."""
    sample = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8").split("$ privaudit compare last.json")[1]
    shown = sample.split("\n", 1)[1].split("```")[0]
    paths = []
    for n_rebuilt in (8, 10):
        document = json.loads(to_json(build(Case(n_rebuilt=n_rebuilt, n_readable=0))))
        for record in document["evidence"]["records"]:
            record["id"] = evidence._identifier(record["id"], "salt")
        paths.append(tmp_path / f"{n_rebuilt}.json")
        paths[-1].write_text(json.dumps(seal(document)))
    assert run(["compare", *map(str, paths)]) == 0
    printed = capsys.readouterr().err
    ids = re.compile(r"\b[0-9a-f]{16}\b")
    assert len(ids.findall(shown)) == len(ids.findall(printed)) == 10
    assert ids.sub("ID", shown) == ids.sub("ID", printed)


def test_the_page_of_the_gate_names_every_format() -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    assert f"`--format {','.join(get_args(Format))}`" in page


@pytest.mark.parametrize("name", sorted(set(REPORTS) - {"html"}))
def test_only_html_and_sarif_carry_paths(name: str) -> None:
    result = build(LEAK, path="some/where/model.safetensors")
    text = REPORTS[name].render(result, None, ReportOptions())
    assert ("some/where" in text) == (name == "sarif")
    assert "train/" not in text and not any(record.id in text for record in result.evidence.records)
