"""The reference pages of the documentation, generated from the commands and from the models of the files.

`python -m privaudit.cli.reference options` prints one; `--write DIR` writes all, which is how `docs/reference` is made.
Imports no torch.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from privaudit.cli.options import SCAN_OPTIONS
from privaudit.config import ScanSettings
from privaudit.config_sources import ENVIRONMENT_PREFIX, NOT_FROM_FILES
from privaudit.errors import ExitCode
from privaudit.field_meanings import MEANINGS
from privaudit.gate_decision import GATE_SCHEMA_VERSION, GateDecision
from privaudit.result import SCHEMA_VERSION, AuditResult
from privaudit.result_evidence import Record

_MADE = "<!-- Made by: python -m privaudit.cli.reference --write docs/reference -->"
_OPTIONS = f"""{_MADE}

# Options

Every command and every option, in the program's own words; `privaudit COMMAND --help` prints them too.

Options of `scan` can also come from a variable or from the table `[scan]` of a `privaudit.toml` beside the model or
above it: see [Settings](#settings). The command line comes first, then variables, then the file.
"""
_RESULT = f"""{_MADE}

# result.json and gate.json

Every field, generated from the models that read and write the files: `result.json` {SCHEMA_VERSION}, `gate.json`
{GATE_SCHEMA_VERSION}. The same as JSON Schema: [schemas/result.schema.json](../../schemas/result.schema.json) and
[schemas/gate.schema.json](../../schemas/gate.schema.json).
How versions work: [In pipelines](../formats.md#resultjson-and-gatejson).

A field that is not in every file was added by a later minor version, or has a default that is meant where it is
missing. No number is NaN or infinite.
"""

_COMPLETION = ("install_completion", "show_completion")  # of typer's own, other words in other versions
_FROM_NO_FILE = "not from a file: it may have come with the model"


def pages() -> dict[str, str]:
    """File name to text."""
    return {"options.md": _options(), "result.md": _result()}


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Field to words: the class's own `Attributes:` come first."""
    listed = (inspect.getdoc(model) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", listed, re.MULTILINE)
    return {
        **MEANINGS.get(model.__name__, {}),
        **{name: re.sub(r"\s+", " ", words).rstrip(".") for name, words in found},
    }


def models(start: type[BaseModel]) -> list[type[BaseModel]]:
    """This model and all that its fields hold, each once, in the order in which a reader meets them."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [start]
    while waiting:
        kind = waiting.pop(0)
        if not (isinstance(kind, type) and issubclass(kind, Record)):
            waiting[:0] = get_args(kind)
        elif kind not in found:
            found.append(kind)
            waiting[:0] = [field.annotation for field in kind.model_fields.values()]
    return found


def _options() -> str:
    from privaudit.cli.app import app

    program: Any = typer.main.get_command(app)
    parts = [_OPTIONS, f"## privaudit\n\n{_help(program)}\n", "\n".join(_table(program))]
    parts += [f"\n[{name}](#privaudit-{name}): {_first_line(command)}" for name, command in program.commands.items()]
    for name, command in program.commands.items():
        usage = " ".join(["privaudit", name, "[OPTIONS]", *(_argument(p) for p in command.params if _is_argument(p))])
        parts += [f"\n## privaudit {name}\n\n```text\n{usage}\n```\n\n{_help(command)}\n", "\n".join(_table(command))]
    return "\n".join([*parts, "", *_settings()]) + "\n"


def _help(command: Any) -> str:
    """The command's help; what is indented there stays as it is set."""
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        is_set = block.startswith("\b")
        blocks.append(f"```text\n{block.removeprefix(chr(8)).strip(chr(10))}\n```" if is_set else block)
    return "\n\n".join(blocks)


def _first_line(command: Any) -> str:
    return inspect.cleandoc(command.help or "").partition("\n")[0]


def _table(command: Any) -> Iterator[str]:
    yield from ("| option | value | does |", "|---|---|---|")
    for parameter in command.params:
        if parameter.name in ("help", *_COMPLETION):
            continue
        if _is_argument(parameter):
            names, value = f"`{_argument(parameter)}`", "a path"
        else:
            names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
            value = "" if parameter.is_flag or parameter.count else _value(parameter.metavar or parameter.type.name)
        yield f"| {names} | {value} | {_cell(parameter.help or '')}{_default(parameter)} |"


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _value(metavar: str) -> str:
    """`a|b` as words of their own: a pipe would end the cell."""
    return ", ".join(f"`{word}`" for word in metavar.split("|"))


def _default(parameter: Any) -> str:
    """A default that the help text does not say; functions and empty ones are none."""
    value = parameter.default
    is_told = "efault" in (parameter.help or "")
    return f" Default: `{value}`." if isinstance(value, str | Path) and not is_told else ""


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "/")


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "What each setting of a scan is called in `privaudit.toml` and in the environment, and its default.\n"
    yield "| table `[scan]` | variable | default | meaning |\n|---|---|---|---|"
    listed = meanings_of(ScanSettings)
    for name, option in SCAN_OPTIONS.items():
        setting = _FROM_NO_FILE if name in NOT_FROM_FILES else f"`{name}`"
        words = listed.get(name) or option.__metadata__[0].help
        default = _shown_default(ScanSettings.model_fields[name])
        yield f"| {setting} | `{ENVIRONMENT_PREFIX}{name.upper()}` | {default} | {_cell(words)} |"
    yield (
        "\nFurther variables: `PRIVAUDIT_SALT`, the secret that makes ids of two scans comparable; `PRIVAUDIT_CACHE`, "
        "the folder\nin which the network of the instrument's check is kept."
    )


def _shown_default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _result() -> str:
    parts = [_RESULT]
    done: list[type[BaseModel]] = []
    for file, start in (("result.json", AuditResult), ("gate.json", GateDecision)):
        parts.append(f"## {file}\n")
        for model in models(start):
            if model not in done:
                parts += _section(model, is_top=model is start)
                done.append(model)
    return "\n".join(parts).rstrip("\n") + "\n"


def _section(model: type[BaseModel], is_top: bool) -> Iterator[str]:
    if not is_top:
        yield f"### {model.__name__}\n"
    yield f"{(inspect.getdoc(model) or '').partition('Attributes:')[0].strip()}\n"
    yield "| field | type | in every file | meaning |\n|---|---|---|---|"
    words = meanings_of(model)
    for name, field in model.model_fields.items():
        always = "yes" if field.is_required() or name in ("schema_version", "self_sha256") else "no"
        yield f"| `{name}` | {_type(field.annotation)} | {always} | {_cell(words[name])} |"
    yield ""


def _type(kind: Any) -> str:
    """A type in words, with a link where it is a model."""
    if kind is type(None):
        return "null"
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if get_origin(kind) is dict:
        return "object"
    if get_origin(kind) is tuple:
        if Ellipsis in arguments:
            return f"list of {_type(arguments[0])}"
        return f"list of {len(arguments)}: {_type(arguments[0])}"
    if arguments:
        return " or ".join(_type(argument) for argument in arguments)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[kind]


def main(arguments: list[str] | None = None) -> int:
    """Print one page, or write all of them to a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m privaudit.cli.reference", description=(__doc__ or "").split("\n")[0]
    )
    made = pages()
    names = [name.removesuffix(".md") for name in made]
    parser.add_argument("name", nargs="?", choices=names, default=names[0], help=f"default: {names[0]}")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write NAME.md for all of them instead")
    given = parser.parse_args(arguments)
    if given.write is None:
        sys.stdout.write(made[f"{given.name}.md"])
        return ExitCode.NO_LEAK_FOUND
    given.write.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (given.write / name).write_text(text, encoding="utf-8")
    return ExitCode.NO_LEAK_FOUND


if __name__ == "__main__":
    sys.exit(main())
