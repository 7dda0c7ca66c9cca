"""How the machine is shared out among cells."""

from pathlib import Path

import pytest
from study_cases import rows

from privaudit.errors import ConfigError
from privaudit.memory import available_memory
from privaudit.study import resources
from privaudit.study.recipe import Recipe
from privaudit.study.resources import memory_of, places_for

GIB = 1 << 30


@pytest.fixture
def cells():
    return [cell for row in rows() for cell in row.cells]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "n_cores", lambda: 8)
    monkeypatch.setattr(resources, "available_memory", lambda: 64 * GIB)


def test_a_large_net_is_expected_to_take_what_was_measured():
    """1131 MiB for 50 images and 2046 MiB for 500, both of 3072-1000-1000-10, in benchmarks/RESULTS.md."""
    few = memory_of(Recipe(data="torchvision:CIFAR10", images_per_class=5))
    many = memory_of(Recipe(data="torchvision:CIFAR10", images_per_class=50))
    assert 1131 / 1024 * GIB < few < 2 * GIB
    assert 2046 / 1024 * GIB < many < 3 * GIB
    assert memory_of(Recipe(data="digits", hidden=(30,), images_per_class=1)) < few
    assert memory_of(Recipe(data="torchvision:CIFAR10", architecture="convnet", images_per_class=5)) > few


def test_auto_is_limited_by_what_there_is_least_of(cells, monkeypatch: pytest.MonkeyPatch):
    places = places_for(cells, "auto")
    assert (places.n_parallel, places.threads, places.reason) == (8, 1, "limited by cores")
    assert places_for(cells[:2], "auto").n_parallel == 2
    assert places_for(cells[:2], "auto").threads == 4
    monkeypatch.setattr(resources, "available_memory", lambda: 4 * GIB)
    few = places_for(cells, "auto")
    assert few.reason == "limited by memory"
    assert few.n_parallel * max(memory_of(cell.recipe) for cell in cells) <= 4 * GIB
    monkeypatch.setattr(resources, "available_memory", lambda: 1)
    assert places_for(cells, "auto").n_parallel == 1
    monkeypatch.setattr(resources, "available_memory", lambda: None)
    assert places_for(cells, "auto").n_parallel == 8
    assert places_for(cells, "auto", gpu_bytes=3 * GIB).reason == "limited by memory of the accelerator"


def test_as_many_as_asked(cells):
    assert (places_for(cells, "2").n_parallel, places_for(cells, "2").threads) == (2, 4)
    assert places_for(cells, "100").n_parallel == len(cells)
    assert places_for([], "auto").n_parallel == 1
    for jobs in ("0", "-1", "many", "1.5"):
        with pytest.raises(ConfigError, match="--jobs as auto or a number"):
            places_for(cells, jobs)


def test_available_memory_is_the_smaller_of_machine_and_container(tmp_path: Path):
    assert available_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 64 kB\n")
    assert available_memory(tmp_path) == 64 * 1024
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("1000\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert available_memory(tmp_path) == 64 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("3000\n")
    assert available_memory(tmp_path) == 2000
