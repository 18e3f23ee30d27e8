"""HTML tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def shown(value: Any) -> str:
    """Formats a value for a cell."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return escape(str(value))
    return f"{value:.5g}"


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Renders a table with a caption."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{shown(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption style='text-align:left'>{escape(title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def first_rows(columns: Any, n: int = 10) -> str:
    """Renders the first ``n`` rows of a table."""
    names = columns.column_names
    rows = zip(*(list(columns[name][:n]) for name in names))
    cells = ([float(cell) if isinstance(cell, float) or hasattr(cell, "dtype") else cell for cell in row] for row in rows)
    return table(f"{len(columns):,} rows", names, cells)
