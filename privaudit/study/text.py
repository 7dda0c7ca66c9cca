"""Plain values as TOML, which the standard library reads but does not write."""

import json
from collections.abc import Mapping


def as_toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of text, numbers, booleans and lists of them; the table with an empty name comes first.

    Raises:
        TypeError: a value of another kind.
    """
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]"] if table else []
        lines += [f"{name} = {_value(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # A basic string of TOML escapes as JSON does, but for surrogate pairs, which it has none of, and DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    raise TypeError(f"no TOML for {type(value).__name__}")
