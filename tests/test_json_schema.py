"""The published schemas: generated from the models, met by real files, open to additions and only added to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_REFERENCE, Case, build, decision

from privaudit import json_schema
from privaudit.result import SCHEMA_VERSION
from privaudit.result_file import to_json

SCHEMAS = Path(__file__).parents[1] / "schemas"
HISTORY = sorted((SCHEMAS / "history").glob("result-*.schema.json"))
CASES = {"leak": LEAK, "no_reference": NO_REFERENCE, "inconclusive": INCONCLUSIVE, "old": Case(exposure="none")}


def committed(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    return document


@pytest.mark.parametrize("name", json_schema.SCHEMAS)
def test_committed_schema_is_the_generated_one(name: str) -> None:
    """To write them anew: python -m privaudit.json_schema --write schemas. A new field raises the minor version."""
    assert committed(name) == json_schema.json_schema(name)
    assert list(committed(name)) == list(json_schema.json_schema(name))


@pytest.mark.parametrize("name", CASES)
def test_results_meet_their_schema(name: str) -> None:
    jsonschema.Draft202012Validator(committed("result")).validate(json.loads(to_json(build(CASES[name]))))


def test_decisions_meet_their_schema() -> None:
    document = decision(build(LEAK)).model_dump(mode="json")
    jsonschema.Draft202012Validator(committed("gate")).validate(document)


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        ((), "schema_version", "2.0"),
        ((), "self_sha256", None),
        (("evidence", "calibrated_threshold"), "members_leaked", "many"),
        (("verdict",), "status", "safe"),
        (("evidence", "records", 0), "ssim", None),
    ],
)
def test_what_is_wrong_does_not_meet_it(place: tuple[str | int, ...], field: str, value: object) -> None:
    document: Any = json.loads(to_json(build(LEAK)))
    holder = document
    for part in place:
        holder = holder[part]
    holder[field] = value
    assert not jsonschema.Draft202012Validator(committed("result")).is_valid(document)
    del holder[field]
    assert not jsonschema.Draft202012Validator(committed("result")).is_valid(document)


def test_a_file_with_additions_meets_it() -> None:
    document = json.loads(to_json(build(LEAK)))
    document["schema_version"] = "1.9"
    document["evidence"]["records"][0]["added"] = document["added"] = 1
    jsonschema.Draft202012Validator(committed("result")).validate(document)


def broken(old: Any, new: Any, where: str = "") -> list[str]:
    """Where `new` refuses or lacks something that `old` allows or has."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [f"{where}: {old} became {new}"]
    found = [f"{where}: {name} gone" for key in ("properties", "$defs") for name in old.get(key, {}) if
             name not in new.get(key, {})]  # fmt: skip
    found += [f"{where}: {name} newly required" for name in new.get("required", []) if name not in old["required"]]
    if "enum" in old:
        found += [f"{where}: value {value} gone" for value in old["enum"] if value not in new["enum"]]
    for key in ("properties", "$defs"):
        for name, schema in old.get(key, {}).items():
            found += broken(schema, new.get(key, {}).get(name, {}), f"{where}/{name}")
    for key in ("type", "$ref", "anyOf", "items", "const", "pattern", "minItems", "maxItems", "prefixItems"):
        if where != "/schema_version" and old.get(key) != new.get(key):
            found.append(f"{where}: {key} changed")
    return found


@pytest.mark.parametrize("path", HISTORY, ids=lambda path: path.name)
def test_minor_versions_only_add(path: Path) -> None:
    old = json.loads(path.read_text(encoding="utf-8"))
    assert broken(old, committed("result")) == []
    assert old["$id"] != committed("result")["$id"] == f"urn:privaudit:result:{SCHEMA_VERSION}"


def test_the_comparison_sees_what_it_must() -> None:
    old = committed("result")
    for change in (
        lambda new: new["properties"].pop("tool"),
        lambda new: new["$defs"].pop("Layer"),
        lambda new: new["$defs"]["Finding"]["required"].append("total"),
        lambda new: new["$defs"]["Attack"]["properties"]["seconds"].update(type="string"),
        lambda new: new["$defs"]["Finding"]["properties"]["status"]["enum"].remove("found"),
    ):
        new = json.loads(json.dumps(old))
        change(new)
        assert broken(old, new) != []


def test_there_is_a_history() -> None:
    major, minor = SCHEMA_VERSION.split(".")
    assert [path.name for path in HISTORY] == [f"result-{major}.{i}.schema.json" for i in range(int(minor))]


def test_the_command_prints_and_writes_them(tmp_path: Path) -> None:
    code = "import sys; from privaudit.json_schema import main; main(); assert 'torch' not in sys.modules"
    printed = subprocess.run([sys.executable, "-c", code, "gate"], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == committed("gate")
    assert json_schema.main(["--write", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["gate.schema.json", "result.schema.json"]
    assert (tmp_path / "new" / "result.schema.json").read_bytes() == (SCHEMAS / "result.schema.json").read_bytes()
