"""`gate`, `verify`, `compare` and `report` in an environment that has no torch at all, built from links."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, build, write_audit
from test_gate_tricks import renamed

from privaudit.result_file import to_json
from privaudit.study.record import RECORD_FILE, record_of, write_record

sys.path.insert(0, str(Path(__file__).parent / "study"))

from study_cases import fill, rows

ROOT = Path(__file__).parents[1]
NEEDED = ("numpy", "scipy", "typer", "rich", "pydantic", "jinja2", "matplotlib", "pillow", "pyyaml", "safetensors")
"""privaudit's dependencies without torch, torchvision and scikit-image."""

Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def closure(names: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """Installed distributions by name, with what they require in turn; extras are left out."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another platform or Python
            continue
        required = [line for line in found[name].requires or () if "extra ==" not in line]
        waiting += [
            line.split(";")[0].split("[")[0].strip(" ()").split()[0].rstrip("<>=!~0123456789.,") for line in required
        ]
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to exactly these distributions and to this package."""
    folder = tmp_path_factory.mktemp("site")
    for distribution in closure(NEEDED).values():
        for file in distribution.files or ():
            top = file.parts[0]
            source = Path(str(distribution.locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    for name in ("privaudit", "templates"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Runner:
    """The program there: -I takes no variables and no user folder, -S no site-packages."""

    def run_it(*arguments: object) -> "subprocess.CompletedProcess[str]":
        code = f"import sys; sys.path.insert(0, {str(environment)!r}); from privaudit.cli import main; main()"
        command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    return run_it


@pytest.mark.parametrize("module", ["torch", "torchvision", "skimage"])
def test_there_is_no_torch(module: str, environment: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(environment)!r}); import numpy, privaudit; import {module}"
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert completed.returncode == 1
    assert f"No module named '{module}'" in completed.stderr


@pytest.mark.parametrize(("case", "code"), [(LEAK, 1), (NO_LEAK, 0), (INCONCLUSIVE, 3)])
def test_gate(case: object, code: int, run: Runner, tmp_path: Path) -> None:
    path = write_audit(tmp_path, case)  # type: ignore[arg-type]
    policy = tmp_path / "policy.toml"
    policy.write_text('[allow]\nrebuilt = "8%"\nreadable = "8%"\n' if code == 0 else "")
    completed = run(
        "gate", path, "--policy", policy, "--out", tmp_path / "out", "--format", "html,markdown,sarif,junit"
    )
    assert completed.returncode == code, completed.stderr
    assert json.loads((tmp_path / "out/gate.json").read_text())["exit_code"] == code
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_gate_with_a_sharded_model_and_a_baseline(run: Runner, tmp_path: Path) -> None:
    path = write_audit(tmp_path, LEAK)
    baseline = tmp_path / "old.json"
    baseline.write_text(to_json(renamed(build(LEAK), "2026-01-01T00:00:00+00:00")))
    completed = run("gate", path, "--baseline", baseline)
    assert completed.returncode in (0, 3), completed.stderr
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "one.safetensors"}}')
    (tmp_path / "one.safetensors").write_bytes(b"weights")
    completed = run("gate", path, "--model", index)
    assert (completed.returncode, "scan this file" in completed.stderr) == (2, True)


def test_verify_and_compare(run: Runner, tmp_path: Path) -> None:
    old, new = write_audit(tmp_path / "old", NO_LEAK), write_audit(tmp_path / "new", LEAK)
    completed = run("verify", new, "--reconstructions")
    assert (completed.returncode, completed.stdout) == (0, f"{build(LEAK).self_sha256}\n"), completed.stderr
    completed = run("compare", old, new, "--json")
    assert completed.returncode == 0, completed.stderr
    assert [len(found["new"]) for found in json.loads(completed.stdout)["comparisons"]] == [30, 50]


def test_report(run: Runner, tmp_path: Path) -> None:
    completed = run("report", write_audit(tmp_path, LEAK), "--format", "html,markdown,sarif,junit")
    assert completed.returncode == 0, completed.stderr
    assert len(completed.stdout.splitlines()) == 4


def test_a_study_is_rendered_from_its_record(run: Runner, tmp_path: Path) -> None:
    some = rows()
    fill(tmp_path / "o", some)
    write_record(tmp_path / "o" / RECORD_FILE, record_of(some, tmp_path / "o", "T", "small", ""))
    completed = run("study", "--render", "--out", "o")
    assert completed.returncode == 2, completed.stderr  # one of its cells failed
    assert completed.stdout == "o/study.html\n"
    assert "pip install privaudit[study]" in completed.stderr
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"cells", "study.csv", "study.html", "study.json"}
