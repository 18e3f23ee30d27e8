"""A notebook as a page in Markdown, with its stored outputs; pictures become files with alternative texts."""

from __future__ import annotations

import base64
import json
import pathlib
from typing import Any


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def _cells(path: pathlib.Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]  # type: ignore[no-any-return]


def title(path: pathlib.Path) -> str:
    """Returns the heading of a notebook.

    Raises:
        ValueError: the first cell has no heading.
    """
    first = _text(_cells(path)[0]["source"]).split("\n", 1)[0]
    if not first.startswith("# "):
        raise ValueError(f"{path}: the first cell must begin with a heading")
    return first.removeprefix("# ")


def page(path: pathlib.Path) -> tuple[str, dict[str, bytes]]:
    """Returns the Markdown of a notebook, and its pictures by file name.

    Raises:
        ValueError: a picture has no alternative text, the key ``alt`` of its cell's metadata.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for number, cell in enumerate(_cells(path), 1):
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                alt = cell["metadata"].get("alt")
                if not alt:
                    raise ValueError(f"{path}: cell {number} shows a picture; its metadata needs the text \"alt\"")
                name = f"{path.stem}_{number}.png"
                pictures[name] = base64.b64decode(_text(data["image/png"]))
                parts.append(f"![{alt}]({name})")
            elif "text/html" in data:
                parts.append(f'<div class="notebook-output">{_on_one_block(_text(data["text/html"]))}</div>')
            else:
                parts.append(f"```text\n{_text(output.get('text') or data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _on_one_block(html: str) -> str:
    """Removes blank lines, which would end the block of HTML, and styles, which are made for notebooks."""
    while "<style" in html:
        before, _, rest = html.partition("<style")
        html = before + rest.partition("</style>")[2]
    return "\n".join(line.strip() for line in html.splitlines() if line.strip())
