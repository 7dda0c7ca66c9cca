"""A stand-in for what runs a cell, and the folder of its module on the path of every process."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from study_cases import WORKER


@pytest.fixture
def worker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that stands in for `privaudit.study.cell`."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "cell_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    return "cell_worker"
