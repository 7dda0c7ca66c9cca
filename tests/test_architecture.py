"""The house rules that a machine can check: who imports whom, and how long things are.

The sources are read, not run, so that imports inside functions count too. Modules that do not exist yet are no failure;
each rule states the least number of modules it must have looked at.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "privaudit"
NUMERICS = (
    "objectives",
    "solver",
    "trials",
    "engines",
    "spans",
    "matching",
    "membership",
    "statistics",
    "verdict",
    "ssim",
    "preflight",
)
ATTACK = ("objectives", "solver", "trials", "engines")
WITHOUT_TORCH = ("cli", "report", "gate", "result", "verdict", "statistics", "config", "errors", "progress")
MAX_FILE_LINES = 300
MAX_BODY_LINES = 50


@dataclass(frozen=True)
class Import:
    """One imported name, dotted; `is_lazy` inside a function; names imported for type checkers alone are left out."""

    name: str
    is_lazy: bool


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Dotted name to file, for the whole package."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[Import]:
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")), is_lazy=False)


def _imports(node: ast.AST, is_lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, is_lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                yield Import(child.module or "", is_lazy)
                yield Import(f"{child.module}.{alias.name}", is_lazy)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _imports(other, is_lazy)
        else:
            inside = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, inside)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def members(tops: tuple[str, ...]) -> list[str]:
    """Modules of the package that lie at or below these names."""
    return [name for name in modules() if any(is_within(name, f"privaudit.{top}") for top in tops)]


def reached(start: str, known: dict[str, Path], with_lazy: bool) -> set[str]:
    """Every dotted name that `start` imports, directly or through modules of the package."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in known:
            parents = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
            waiting += parents  # importing a.b runs a
            waiting += [found.name for found in imports(known[name]) if with_lazy or not found.is_lazy]
    return seen - {start}


def offenders(tops: tuple[str, ...], forbidden: tuple[str, ...], with_lazy: bool) -> list[str]:
    known = modules()
    return [
        f"{module} reaches {name}"
        for module in members(tops)
        for name in sorted(reached(module, known, with_lazy))
        if any(is_within(name, package) for package in forbidden)
    ]


def test_enough_was_looked_at():
    assert len(modules()) >= 25
    assert len(members(NUMERICS)) >= 4
    assert len(members(ATTACK)) >= 2
    assert len(members(WITHOUT_TORCH)) >= 15


def test_numerics_know_neither_command_line_nor_report():
    assert offenders(NUMERICS, ("privaudit.cli", "privaudit.report"), with_lazy=True) == []


def test_only_the_entry_point_knows_the_command_line():
    known = modules()
    others = [name for name in known if not is_within(name, "privaudit.cli") and name != "privaudit.__main__"]
    assert len(others) >= 15
    assert [
        name for name in others if any(is_within(found.name, "privaudit.cli") for found in imports(known[name]))
    ] == []


def test_training_images_cannot_reach_the_attack():
    assert offenders(ATTACK, ("privaudit.data", "privaudit.matching", "privaudit.membership"), with_lazy=True) == []
    for module in members(ATTACK):
        named = {node.id for node in ast.walk(ast.parse(modules()[module].read_text())) if isinstance(node, ast.Name)}
        assert "ImageSet" not in named, module


def test_what_runs_without_torch_does_not_import_it():
    assert offenders(WITHOUT_TORCH, ("torch", "torchvision"), with_lazy=False) == []


@pytest.mark.parametrize(
    "module", ["privaudit.cli", "privaudit.cli.app", "privaudit.gate", "privaudit.report", "privaudit.verdict"]
)
def test_a_fresh_process_that_imports_it_has_no_torch(module):
    code = f"import sys; sys.path[:0] = {sys.path!r}; import {module}; print('torch' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == "False\n"


@pytest.mark.parametrize("path", modules().values(), ids=modules().keys())
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert body_lines(node) <= MAX_BODY_LINES, node.name


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement to the last, the docstring not counted."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_the_walk_sees_what_it_must(tmp_path):
    """The checks above pass on an empty list; this shows that a planted offence lands in it."""
    package = tmp_path / "pkg"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sub" / "__init__.py").write_text("import torch.nn\n")
    (package / "sub" / "a.py").write_text("")
    (package / "b.py").write_text("def f():\n    from pkg.sub import a\n")
    (package / "c.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pkg.b\nx = 1\n")
    (package / "d.py").write_text("from pkg import c, b\n")
    known = modules(package)
    assert set(known) == {"pkg", "pkg.sub", "pkg.sub.a", "pkg.b", "pkg.c", "pkg.d"}
    assert "torch.nn" in reached("pkg.d", known, with_lazy=True)
    assert "torch.nn" not in reached("pkg.d", known, with_lazy=False)
    assert "torch.nn" in reached("pkg.sub.a", known, with_lazy=False)
    assert "pkg.b" not in reached("pkg.c", known, with_lazy=True)
