"""What the documentation says about the program is what the program says."""

import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from privaudit.adapters import build_target, descriptions
from privaudit.adapters.interface import InputOptions
from privaudit.checkpoint import Checkpoint
from privaudit.cli.adapters import markdown_table

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
