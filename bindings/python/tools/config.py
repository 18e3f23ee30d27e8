"""Writes python/ncs4cvr/_config.py, the types of a run's settings, from the run file's JSON schema.

    python bindings/python/tools/config.py [--check]
"""

from __future__ import annotations

import json
import keyword
import pathlib
import sys
import textwrap
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "schema" / "run.schema.json"
TARGET = ROOT / "bindings" / "python" / "python" / "ncs4cvr" / "_config.py"

HEAD = '''"""The settings of a run, for completion in editors and for type checkers.

Written by tools/config.py from schema/run.schema.json. At run time they are plain dictionaries, and the run file's own
checks hold: unknown keys name the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict, Union
'''

SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def kind(schema: dict[str, Any]) -> str:
    """The type of what a schema allows."""
    if schema is True or not schema:
        return "object"
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    if "const" in schema:
        return f"Literal[{json.dumps(schema['const'])}]"
    if "enum" in schema:
        return f"Literal[{', '.join(map(json.dumps, schema['enum']))}]"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return union([kind(choice) for choice in schema[key] if choice.get("type") != "null"])
    found = schema.get("type")
    if isinstance(found, list):
        return union([SIMPLE[one] for one in found if one != "null"])
    if found == "array":
        return f"list[{kind(schema.get('items', {}))}]"
    if found == "object":
        extra = schema.get("additionalProperties")
        return f"Mapping[str, {kind(extra)}]" if isinstance(extra, dict) else "Mapping[str, object]"
    return SIMPLE[found] if found else "object"


def union(choices: list[str]) -> str:
    several = list(dict.fromkeys(choices))
    return several[0] if len(several) == 1 else f"Union[{', '.join(several)}]"


def table(name: str, schema: dict[str, Any]) -> str:
    """A dictionary whose keys are known; what each means stands in its documentation."""
    keys = schema["properties"]
    assert all(key.isidentifier() and not keyword.iskeyword(key) for key in keys), name
    lines = [wrapped(schema.get("description", name), "    "), "", "    Keys:"]
    for key, inner in keys.items():
        lines.append(wrapped(f"{key}: {inner.get('description', '')}", "        "))
    doc = "\n".join(lines).strip()
    fields = "\n".join(f"    {key}: {kind(inner)}" for key, inner in keys.items())
    return f'class {name}(TypedDict, total=False):\n    """{doc}\n    """\n\n{fields}\n'


def wrapped(text: str, indent: str) -> str:
    text = " ".join(text.split()).replace("\\", "\\\\")
    return textwrap.fill(text, 118, initial_indent=indent, subsequent_indent=indent + "    ")


def definition(name: str, schema: dict[str, Any]) -> str:
    """A type of the schema: a table, or a choice of tables and values."""
    if "properties" in schema:
        return table(name, schema)
    choices = []
    text = ""
    for number, choice in enumerate(schema.get("oneOf") or schema.get("anyOf") or [schema]):
        if "properties" in choice:
            tag = next((inner["const"] for inner in choice["properties"].values() if "const" in inner), number)
            inner = f"{name}{str(tag).title().replace('_', '')}"
            text += table(inner, choice) + "\n\n"
            choices.append(inner)
        else:
            choices.append(kind(choice))
    return f"{text}{name} = {union(choices)}\n"


def ordered(definitions: dict[str, Any]) -> list[str]:
    """Names so that what a choice names stands before it."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        for other in definitions:
            if other != name and f'"#/$defs/{other}"' in json.dumps(definitions[name]):
                visit(other)
        done.append(name)

    for name in definitions:
        visit(name)
    return done


def text() -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    parts = [definition(name, definitions[name]) for name in ordered(definitions)]
    parts.append(table("RunConfig", schema))
    return HEAD + "\n\n" + "\n\n".join(parts)


def main() -> int:
    wanted = text()
    if "--check" in sys.argv:
        return int(TARGET.read_text(encoding="utf-8") != wanted)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
