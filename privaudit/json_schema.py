"""The published JSON Schemas of `result.json` and `gate.json`, generated from the models that read and write them.

`python -m privaudit.json_schema result` prints one; `--write DIR` writes both, which is how `schemas/` is made. A
schema describes every file of its major version: it requires what the first minor version had and leaves room for
fields that later ones add, as this program's own reader does. Imports no torch.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from privaudit.errors import ExitCode
from privaudit.gate_decision import GATE_SCHEMA_VERSION, GateDecision
from privaudit.result import SCHEMA_VERSION, AuditResult

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS: dict[str, tuple[type[BaseModel], str, tuple[str, ...]]] = {
    "result": (AuditResult, SCHEMA_VERSION, ("schema_version", "self_sha256")),
    "gate": (GateDecision, GATE_SCHEMA_VERSION, ("schema_version",)),
}
"""Name to model, version, and fields that have a default in the program but are in every file."""


def json_schema(name: str) -> dict[str, Any]:
    """The schema of `result` or `gate`, ready for `json.dumps`."""
    model, version, always = SCHEMAS[name]
    schema = model.model_json_schema(mode="validation")
    _open(schema)
    schema["required"] = [field for field in schema["properties"] if field in {*schema["required"], *always}]
    head = {
        "$schema": DIALECT,
        # No web address: nobody has to be reached to check a file.
        "$id": f"urn:privaudit:{name}:{version}",
        "title": f"privaudit {name}.json {version}",
    }
    return {**head, **{key: value for key, value in schema.items() if key not in head}}


def text(name: str) -> str:
    """The schema as the file that is kept in `schemas/`."""
    return json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n"


def _open(node: Any) -> None:
    """Let later minor versions add fields: drop the prohibition that the reader's own models have."""
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
        for value in node.values():
            _open(value)
    elif isinstance(node, list):
        for value in node:
            _open(value)


def main(arguments: list[str] | None = None) -> int:
    """Print one schema, or write all of them to a folder."""
    parser = argparse.ArgumentParser(prog="python -m privaudit.json_schema", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", nargs="?", choices=tuple(SCHEMAS), default="result", help="default: result")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write NAME.schema.json for all of them instead")
    given = parser.parse_args(arguments)
    if given.write is None:
        sys.stdout.write(text(given.name))
        return ExitCode.NO_LEAK_FOUND
    given.write.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (given.write / f"{name}.schema.json").write_text(text(name), encoding="utf-8")
    return ExitCode.NO_LEAK_FOUND


if __name__ == "__main__":
    sys.exit(main())
