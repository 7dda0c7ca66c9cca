"""Every shell example of README and documentation runs, and ends as it says. How: `shell_examples.py`."""

import argparse
import os
import re
import runpy
import shlex
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file
from shell_examples import (
    ROOT,
    Example,
    all_examples,
    commands_of,
    copied,
    examples_in,
    pages,
    run_in,
    write_stand_ins,
)

from privaudit.cli.app import app

EXAMPLES = {(example.commands, example.exits): example for example in reversed(all_examples())}
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
BENCHMARKS = [
    command for example in examples_in(RESULTS, "RESULTS.md") for command in example.commands
]  # fmt: skip
SPANS = sorted({span for path in pages() for span in re.findall(r"`(privaudit \w[^`\n]*)`", path.read_text("utf-8"))})


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that examples name, from the demo's network and pictures."""
    base = tmp_path_factory.mktemp("workshop")
    (base / "stand-ins").mkdir()
    folder = base / "prepared"
    folder.mkdir()
    code = [sys.executable, "-m", "privaudit", "demo", "--time-limit", "2", "--quiet"]
    done = run_in(folder, shlex.join(code), dict(os.environ))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(base / "stand-ins")
    demo = Path(shutil.move(folder / "privaudit-demo", base / "privaudit-demo"))
    write_stand_ins(base / "stand-ins", demo)
    for name in ("model.safetensors", "model.mean.npy"):
        shutil.copy(demo / name, folder)
    members, controls = (np.load(demo / f"{name}.npz")["images"] for name in ("reference", "control"))
    np.savez(folder / "images.npz", member_images=members, control_images=controls)
    _write_pictures(folder / "train", members)
    _write_pictures(folder / "heldout", controls)
    (folder / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "weight_decay.toml", folder / "examples")
    shutil.copytree(demo / "leaky", folder / "audit")
    shutil.copy(demo / "leaky" / "result.json", folder / "last.json")
    for name in ("policy.toml", "privaudit-policy.toml"):
        (folder / name).write_text(_policy(folder / "model.safetensors"), encoding="utf-8")
    assert run_in(folder, "privaudit report audit/result.json --format sarif", dict(os.environ)).returncode == 0
    return base


def _policy(model: Path) -> str:
    """The policy of docs/gate.md, for this model and for good."""
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    policy = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert policy is not None
    own = re.sub(r"[0-9a-f]{64}", sha256(model.read_bytes()).hexdigest(), policy[1])
    return re.sub(r"expires = [\d-]+", "expires = 2999-12-31", own)


def _write_pictures(folder: Path, pictures: "np.ndarray[Any, Any]") -> None:
    folder.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{index:03d}.png")


@pytest.fixture(scope="module")
def own_network(workshop: Path) -> Path:
    """The same with the network of docs/architectures.md, untrained, and pictures that fit it."""
    folder = copied(workshop / "prepared", workshop / "own")
    code = re.search(r"```python\n# mynet.py\n(.*?)```", (ROOT / "docs/architectures.md").read_text("utf-8"), re.DOTALL)
    assert code is not None
    (folder / "mynet.py").write_text(code[1], encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(code[1], scope)
    torch.manual_seed(0)
    save_file(scope["factory"]().state_dict(), folder / "weights.safetensors")
    generator = np.random.default_rng(0)
    for name, n in (("train", 4), ("heldout", 8)):
        shutil.rmtree(folder / name)
        _write_pictures(folder / name, generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES.values(), ids=lambda example: example.where)
def test_an_example_ends_as_it_says(
    example: Example, workshop: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_own = example.where.startswith("docs/architectures.md")
    prepared = request.getfixturevalue("own_network") if is_own else workshop / "prepared"
    folder = copied(prepared, tmp_path / "here")
    (tmp_path / "stand-ins").symlink_to(workshop / "stand-ins")
    for command, expected in zip(example.commands, example.exits, strict=True):
        done = run_in(folder, command, dict(os.environ))
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"


def test_there_are_examples_on_the_pages_that_need_them() -> None:
    places = {example.where.split(":")[0] for example in all_examples()}
    wanted = (
        "README.md",
        *(f"docs/{name}.md" for name in ("index", "first-audit", "read-a-report", "gate", "formats")),
    )
    assert places >= set(wanted)


def test_what_is_shell_and_what_is_not() -> None:
    assert commands_of("$ privaudit demo\nverdict: leak_found\n", "") == ("privaudit demo",)
    assert commands_of("privaudit demo  # all\n\n# more\npip install .\n", "") == (
        "privaudit demo  # all",
        "pip install .",
    )
    assert commands_of("warning: allowances\n", "") == commands_of("privaudit demo\n", "text") == ()
    assert commands_of("privaudit scan m \\\n  --out a\n", "bash") == ("privaudit scan m --out a",)
    text = "a\n<!-- exits: 1, 0 -->\n```\npip a\npip b\n```\n"
    assert examples_in(text, "page") == [Example("page:3", ("pip a", "pip b"), (1, 0))]
    with pytest.raises(AssertionError, match="page:2: 1 commands, 2 exit codes"):
        examples_in("<!-- exits: 1, 0 -->\n```\npip a\n```\n", "page")


def test_a_wrong_exit_code_and_a_wrong_extra_are_seen(tmp_path: Path) -> None:
    write_stand_ins(tmp_path / "stand-ins", tmp_path)
    (tmp_path / "here").mkdir()
    codes = {
        command: run_in(tmp_path / "here", command, dict(os.environ)).returncode
        for command in (
            'pip install ".[docs]"',
            "pip install .",
            'pip install ".[none]"',
            "pip install other",
            "no-such",
        )
    }
    assert list(codes.values()) == [0, 0, 1, 1, 127]


@pytest.mark.parametrize("span", SPANS)
def test_a_command_in_a_sentence_has_the_options_it_names(span: str) -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    name, *words = span.removeprefix("privaudit ").split(" ")
    assert name in commands or name == "COMMAND", span
    if name in commands:
        known = {
            option for parameter in commands[name].params for option in [*parameter.opts, *parameter.secondary_opts]
        }
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}


@pytest.mark.parametrize("command", BENCHMARKS)
def test_a_benchmark_takes_the_arguments_it_was_run_with(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need hours, or data that do not ship: the script exists and its parser accepts them; no more is run."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    assert words[0] == "python"
    if words[1:3] == ["-m", "privaudit"]:
        group: Any = typer.main.get_command(app)
        group.commands[words[3]].make_context(words[3], words[4:])
        return

    class Parsed(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *given: Any, **more: Any) -> None:
        parse(parser, *given, **more)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    filled = ["1" if word in ("…", "...") else word for word in words[2:] if word not in ("[AUDIT", "...]")]
    monkeypatch.setattr(sys, "argv", [words[1], *filled])
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")
