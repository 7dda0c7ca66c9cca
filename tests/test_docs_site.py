"""The documentation builds without a warning, loads nothing from elsewhere, and its generated pages are up to date."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import html5lib
import pytest

from privaudit.cli import reference
from privaudit.config import ScanSettings
from privaudit.gate_decision import GateDecision
from privaudit.result import AuditResult

ROOT = Path(__file__).parents[1]
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "srcset", "object": "data"}
ELSEWHERE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)


def build(config: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(out),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("documentation") / "site"
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return out


def test_every_page_is_built(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file()
    assert (site / "project/benchmarks/RESULTS.html").is_file() and (
        site / "project/schemas/gate.schema.json"
    ).is_file()


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    looked_at = 0
    for path in site.rglob("*.html"):
        tree = html5lib.parse(path.read_text(encoding="utf-8"), namespaceHTMLElements=False)
        for tag, name in LOADING.items():
            for element in tree.iter(tag):
                if tag != "link" or element.get("rel") not in ("canonical", "prev", "next"):
                    looked_at += 1
                    assert not ELSEWHERE.match(element.get(name) or ""), (path.name, element.attrib)
    styles = list(site.rglob("*.css"))
    for path in styles:
        for target in re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)", path.read_text(encoding="utf-8")):
            assert not ELSEWHERE.match(target), (path.name, target)
    assert looked_at > 50 and len(styles) >= 2


def test_equations_are_mathml_without_rests(site: Path) -> None:
    for name, least in (("method", 40), ("evidence", 30)):
        page = (site / f"{name}.html").read_text(encoding="utf-8")
        equations = re.findall(r"<math.*?</math>", page, re.DOTALL)
        assert len(equations) >= least
        assert not [equation for equation in equations if "\\" in re.sub(r"<[^>]+>", "", equation)]
        article = page.split("<article")[1].split("</article>")[0]
        assert "$" not in re.sub(r"<code.*?</code>", "", article, flags=re.DOTALL)


@pytest.mark.parametrize(
    "link", ["gate.md#no-such-heading", "no-such-page.md", "../benchmarks/RESULTS.md#no-such", "../no"]
)
def test_a_dead_link_fails_the_build(link: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "faq.md").open("a", encoding="utf-8") as stream:
        stream.write(f"\n[dead]({link})\n")
    text = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {tmp_path / 'docs'}\nhooks: [{ROOT / 'tools/docs_site.py'}]\n"
    (tmp_path / "mkdocs.yml").write_text(text, encoding="utf-8")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1 and link.split("/")[-1] in done.stderr


@pytest.mark.parametrize("name", reference.pages())
def test_committed_reference_is_the_generated_one(name: str) -> None:
    """To write them anew: python -m privaudit.cli.reference --write docs/reference."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == reference.pages()[name]


def test_every_field_has_a_meaning_and_no_meaning_is_left_over() -> None:
    models = {model.__name__: model for start in (AuditResult, GateDecision) for model in reference.models(start)}
    for name, model in models.items():
        meanings = reference.meanings_of(model)
        assert [field for field in model.model_fields if not meanings.get(field)] == [], name
        assert set(reference.MEANINGS.get(name, {})) <= set(model.model_fields), name
    assert set(reference.MEANINGS) <= set(models)


def test_every_command_and_setting_is_listed() -> None:
    from privaudit.cli.app import app

    page = reference.pages()["options.md"]
    for command in app.registered_commands:
        assert command.callback is not None and f"\n## privaudit {command.callback.__name__}\n" in page
    assert all(f"`PRIVAUDIT_{name.upper()}`" in page for name in ScanSettings.model_fields if name != "model")


def test_the_command_prints_and_writes_them(tmp_path: Path) -> None:
    code = "import sys; from privaudit.cli.reference import main; main(); assert 'torch' not in sys.modules"
    printed = subprocess.run([sys.executable, "-c", code, "result"], capture_output=True, text=True, check=True)
    assert printed.stdout == reference.pages()["result.md"]
    assert reference.main(["--write", str(tmp_path / "new")]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()} == reference.pages()
