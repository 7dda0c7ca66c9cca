"""Templates: where they lie, and how a company's own come before them.

In: a folder of templates, or None. Out: a Jinja environment. The shipped ones lie in `templates/` at the repository's
root and in `privaudit/templates` of an installed wheel; `privaudit/NAME` always means them, so that an own
`report.html.j2` can extend `privaudit/report.html.j2`. Templates run in Jinja's sandbox with autoescape and
StrictUndefined: foreign text stays text, and a missing value fails instead of vanishing.
"""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, FunctionLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.loaders import BaseLoader, ChoiceLoader, PrefixLoader
from jinja2.sandbox import SandboxedEnvironment

import privaudit
from privaudit.errors import ConfigError, OutputError
from privaudit.report import words
from privaudit.text import one_line

PAGE = "report.html.j2"
STUDY_PAGE = "study.html.j2"


def render_page(templates: Path | None, **values: Any) -> str:
    """The page from `PAGE`, with a company's templates before the shipped ones.

    Raises:
        ConfigError: `templates` is no folder, holds no template that the page uses, or one of them fails.
    """
    if templates is None:
        return _environment(None).get_template(PAGE).render(**values)
    if not templates.is_dir():
        raise ConfigError(f"expected a folder of templates at {templates}, found none; name one with --templates")
    known = sorted(_shipped_names())
    if not any((templates / name).is_file() for name in known):
        raise ConfigError(f"expected one of {', '.join(known)} in {templates}, found none; start from {PAGE}")
    try:
        return _environment(templates).get_template(PAGE).render(**values)
    except (TemplateError, OSError, UnicodeDecodeError) as error:
        where = getattr(error, "filename", None) or getattr(error, "name", None) or templates
        told = f"no template of that name ({error})" if isinstance(error, TemplateNotFound) else str(error)
        raise ConfigError(
            f"expected templates that render in {templates}, found in {one_line(str(where))}: {one_line(told)}; mend it"
        ) from error


def render_study(**values: Any) -> str:
    """The page of a study, from the shipped templates."""
    return _environment(None).get_template(STUDY_PAGE).render(**values)


@cache
def _environment(templates: Path | None) -> SandboxedEnvironment:
    shipped = FunctionLoader(_source)
    loaders: list[BaseLoader] = [PrefixLoader({"privaudit": shipped}), shipped]
    if templates is not None:
        loaders.insert(0, FileSystemLoader(templates))
    environment = SandboxedEnvironment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = words.plain
    return environment


def _source(name: str) -> str | None:
    template = _templates().joinpath(*name.split("/"))
    return template.read_text(encoding="utf-8") if template.is_file() else None


def _shipped_names() -> set[str]:
    """Names of every shipped template, as templates include them."""
    root = _templates()
    partials = {f"partials/{file.name}" for file in root.joinpath("partials").iterdir()}
    return partials | {file.name for file in root.iterdir() if file.is_file()}


@cache
def _templates() -> Traversable:
    """The folder of the installed package, otherwise the one beside the package in a checkout."""
    installed = files("privaudit").joinpath("templates")
    if installed.is_dir():
        return installed
    checkout = Path(privaudit.__file__).resolve().parent.parent / "templates"
    if checkout.is_dir():
        return checkout
    raise OutputError(f"expected report templates in {installed} or {checkout}, found neither; install privaudit again")
