"""Fixtures as JSON: an entry of a case on each line, numbers with all their digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

Case = dict[str, Any]


def write(path: str, groups: dict[str, Case | list[Case]]) -> None:
    """Writes named cases and lists of cases; `path` starts at the root of the repository."""
    text = ",\n".join(f"{json.dumps(name)}: {group_as_text(group)}" for name, group in groups.items())
    (ROOT / path).write_text("{\n" + text + "\n}\n")
    print(path)


def group_as_text(group: Case | list[Case]) -> str:
    """A case or a list of them."""
    if isinstance(group, dict):
        return case_as_text(group)
    return "[\n" + ",\n".join(map(case_as_text, group)) + "\n]"


def case_as_text(case: Case) -> str:
    """An object, an entry a line."""
    entries = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
    return "{\n" + ",\n".join(entries) + "\n}"
