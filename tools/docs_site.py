"""Hooks of `mkdocs build`: equations as MathML, and links to files of the repository that lie outside `docs/`.

The pages are written for the repository's own viewer too: equations stand in ```math fences or between dollar signs,
and links are paths inside the repository. A file outside `docs/` that a page links to is put into the site under
`project/`, so that strict mode checks these links and their anchors as well. Nothing is loaded from another host.
"""

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
OUTSIDE = "project"
PAGES_OUTSIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")
FOLDERS_OUTSIDE = ("benchmarks", "examples", "examples/leaking", "examples/not-leaking", "schemas", "schemas/history")
FILES_OUTSIDE = ("action.yml", "examples/study/study.html")
_INLINE_MATH = r"(?<![\\$\w])\$(?![\s$])([^$\n]*[^$\s\\])\$(?![\w$])"


def mathml(source: str, display: str) -> str:
    """LaTeX to MathML; `display` is `block` or `inline`."""
    return str(convert(source.strip(), display=display))


class _InlineMath(InlineProcessor):
    """`$…$`, not inside code: code is taken out before."""

    def handleMatch(self, match: "re.Match[str]", data: str) -> tuple[str, int, int]:  # type: ignore[override]
        """What stands for the equation, and where."""
        return self.md.htmlStash.store(mathml(match[1], "inline")), match.start(0), match.end(0)


class _Links(Treeprocessor):
    """Paths inside the repository to paths inside the site, before MkDocs checks them."""

    page = ""

    def run(self, root: Element) -> None:
        """Change every relative link of a page."""
        for element in root.iter():
            for name in ("href", "src"):
                if element.tag in ("a", "img") and element.get(name):
                    element.set(name, site_link(self.page, element.get(name, "")))


class _Extension(Extension):
    links = _Links()

    def extendMarkdown(self, md: Markdown) -> None:
        """Above escapes (180) so that LaTeX keeps its backslashes, below code (190)."""
        md.inlinePatterns.register(_InlineMath(_INLINE_MATH, md), "dollar-math", 185)
        self.links.md = md
        md.treeprocessors.register(self.links, "repository-links", 5)  # MkDocs's own has 0


def site_link(page: str, link: str) -> str:
    """What a link on a page of the repository has to be on the site; unknown ones stay, and MkDocs warns."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return link
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), parts.path))
    if target in (*FOLDERS_OUTSIDE, "docs"):
        target = posixpath.join(target, "index.md")
    if not (ROOT / target).exists() and not target.endswith("index.md"):
        return link
    path = posixpath.relpath(site_path(target), posixpath.dirname(site_path(page)))
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def site_path(path: str) -> str:
    """Path inside the repository to path inside the site."""
    return posixpath.relpath(path, DOCS) if path.startswith(f"{DOCS}/") else posixpath.join(OUTSIDE, path)


def repository_path(path: str) -> str:
    """The reverse."""
    return path.removeprefix(f"{OUTSIDE}/") if path.startswith(f"{OUTSIDE}/") else posixpath.join(DOCS, path)


def _fence(source: str, *_: Any, **__: Any) -> str:
    return f'<div class="math">{mathml(source, "block")}</div>'


def _listing(folder: str) -> str:
    names = sorted(path.name for path in (ROOT / folder).iterdir() if not path.name.startswith(("_", ".")))
    files = [name for name in names if (ROOT / folder / name).is_file()]
    return "\n".join([f"# {folder}/", "", *(f"* [{name}]({name})" for name in files)]) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the extension; headings get the anchors that the repository's viewer gives them."""
    config.markdown_extensions.append(_Extension())  # type: ignore[arg-type]
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "math", "format": _fence}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Put what pages link to outside `docs/` into the site."""
    wanted = [*PAGES_OUTSIDE, *FILES_OUTSIDE]
    for folder in FOLDERS_OUTSIDE:
        inside = (path for path in sorted((ROOT / folder).iterdir()) if path.is_file())
        wanted += [path.relative_to(ROOT).as_posix() for path in inside]
        files.append(File.generated(config, f"{OUTSIDE}/{folder}/index.md", content=_listing(folder)))
    for path in dict.fromkeys(wanted):
        files.append(File.generated(config, f"{OUTSIDE}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remember which page is next."""
    _Extension.links.page = repository_path(page.file.src_uri)
    return markdown
