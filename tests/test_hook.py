"""The pre-commit hook: every file is gated, the worst code counts, and pre-commit itself installs and runs it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from result_builder import LEAK, NO_LEAK, NO_REFERENCE, Case, write_audit

from privaudit.cli import hook

ROOT = Path(__file__).parents[1]
COPIED = ("privaudit", "templates", "schemas", "README.md", "CHANGELOG.md", "pyproject.toml", ".pre-commit-hooks.yaml")

FOUR = ("--max-leaked=4", "--max-readable=4")


def results(folder: Path, **cases: Case) -> dict[str, str]:
    return {name: str(write_audit(folder / name, case, with_pictures=False)) for name, case in cases.items()}


def test_the_worst_code_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = results(tmp_path, leak=LEAK, good=NO_LEAK, doubt=NO_REFERENCE)
    broken = tmp_path / "broken" / "result.json"
    broken.parent.mkdir()
    broken.write_text("{}")
    assert hook.main([*FOUR, path["good"]]) == 0
    assert hook.main([*FOUR, path["good"], path["doubt"]]) == 3
    assert hook.main([*FOUR, path["doubt"], path["leak"], path["good"]]) == 1
    capfd.readouterr()
    assert hook.main([*FOUR, path["leak"], str(broken), path["good"]]) == 2
    said = capfd.readouterr()
    assert said.out.splitlines() == ["leak_found", "no_leak_found"]
    assert all(str(file) in said.err for file in (path["leak"], broken, path["good"]))


def test_options_go_to_every_gate(tmp_path: Path) -> None:
    path = results(tmp_path, one=LEAK, two=LEAK)
    allowed = ["--max-leaked", "50", "--max-readable=50", "-q"]
    assert hook.main([*allowed, path["one"], path["two"]]) == 0
    assert hook.main([*allowed, "--", path["one"], path["two"]]) == 0
    assert hook.main(["--max-leaked", "50", path["one"]]) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--max-leaked=50"], 1),
        (["--max-readable", "50"], 1),
        (["--fail-on", "rebuilt", "--max-leaked=50"], 3),
        (["--policy", "{}"], 0),
        (["--policy={}", "--max-leaked=0"], 1),
        (["--max-leaked=50", "--max-readable=50"], 0),
    ],
)
def test_allowances_inside_a_result_do_not_count(options: list[str], code: int, tmp_path: Path) -> None:
    path = results(tmp_path, one=Case(max_leaked=50, max_readable=50))
    policy = tmp_path / "policy.toml"
    policy.write_text("[allow]\nrebuilt = 50\nreadable = 50\n")
    assert hook.main([*(option.format(policy) for option in options), path["one"]]) == code


@pytest.mark.parametrize(
    "options", [["--help"], ["-h"], ["-qh"], [*FOUR, "--help"], ["--help", "--"], ["-h", "--none"]]
)
def test_help_gates_no_file_and_so_passes_none(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = results(tmp_path, one=LEAK)
    assert hook.main([*options, path["one"]]) == 2
    assert "leak_found" not in capfd.readouterr().out


def test_help_alone_is_the_gates(capfd: pytest.CaptureFixture[str]) -> None:
    assert hook.main(["--help"]) == hook.main(["-h"]) == 0
    assert "--max-leaked" in capfd.readouterr().out


def test_success_without_a_verdict_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hook, "run", lambda arguments: 0)
    assert hook.main([*FOUR, *results(tmp_path, one=NO_LEAK).values()]) == 2
    assert "expected a verdict, found none" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["-q"], ["--max-leaked", "1"], ["--none", "x.json"], ["--max-leaked"]])
def test_nothing_to_gate_and_wrong_options_are_errors(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert hook.main(arguments) == 2
    said = capfd.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1


def test_one_document_a_file_is_no_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert hook.main(["--json", *results(tmp_path, one=LEAK).values()]) == 2
    said = capfd.readouterr()
    assert said.out == "" and "expected no --json" in said.err


def test_options_behind_files_are_refused(tmp_path: Path) -> None:
    path = results(tmp_path, one=LEAK, two=LEAK)
    assert hook.main([path["one"], "--max-leaked", "50", path["two"]]) == 2


def test_the_hook_file_names_what_is_installed() -> None:
    (declared,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert declared["entry"] in (ROOT / "pyproject.toml").read_text()
    code = "import sys, privaudit.cli.hook as hook; hook.main(['none.json']); print('torch' in sys.modules)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "-m", "All", "--allow-empty")
    return folder


@pytest.fixture(scope="module")
def hook_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree, whether committed or not, as a repository that pre-commit can clone."""
    folder = tmp_path_factory.mktemp("hook")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    with (folder / ".pre-commit-hooks.yaml").open("a") as stream:  # `try-repo` takes no args from its caller
        stream.write(f"  args: [{', '.join(FOUR)}]\n")
    return repository(folder)


@pytest.fixture
def try_repo(hook_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> "TryRepo":
    """With the packages of this environment but privaudit, which only the hook's own environment then has."""
    others = tmp_path_factory.mktemp("others")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if "privaudit" not in package.name and package.suffix != ".pth":
            (others / package.name).symlink_to(package)
    return TryRepo(hook_repository, others, tmp_path_factory.mktemp("pre-commit"))


class TryRepo:
    """`pre-commit try-repo`: it clones, builds and installs the hook into an environment of its own.

    Only this package is installed there. What it depends on would be gigabytes, so it is seen where the tests have it,
    as is the build backend.
    """

    def __init__(self, repo: Path, others: Path, home: Path) -> None:
        self.repo, self.others, self.home = repo, others, home

    def __call__(self, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pre_commit", "try-repo", str(self.repo), "privaudit-gate", "--verbose"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environ |= {
            "PRE_COMMIT_HOME": str(self.home),
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's own spelling of "no isolation"
            "PIP_NO_INDEX": "1",
            "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
            "PYTHONPATH": str(self.others),
        }
        return subprocess.run(
            [*command, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.mark.slow
def test_pre_commit_installs_and_runs_it(try_repo: "TryRepo", tmp_path: Path) -> None:
    results(tmp_path, leak=LEAK, good=NO_LEAK)
    (tmp_path / "other.json").write_text("{}")
    repository(tmp_path)
    passed = try_repo(tmp_path, "--files", "good/result.json", "other.json")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout and "no_leak_found" in passed.stdout and "other.json" not in passed.stdout
    failed = try_repo(tmp_path, "--all-files")
    assert failed.returncode == 1
    assert "exit code: 1" in failed.stdout and "leak/result.json" in failed.stdout
    (tmp_path / "good" / "result.json").write_text("{}")
    broken = try_repo(tmp_path, "--all-files")
    assert broken.returncode == 1 and "exit code: 2" in broken.stdout, broken.stdout
    skipped = try_repo(tmp_path, "--files", "other.json")
    assert skipped.returncode == 0 and "no files to check" in skipped.stdout
