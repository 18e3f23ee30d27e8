"""Rows as function arguments: frames, paths, or dictionaries of columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Union, runtime_checkable

from . import _core

Path = Union[str, "os.PathLike[str]"]


@runtime_checkable
class ArrowStream(Protocol):
    """Data frame of any library that exports Arrow batches: polars, pandas 2.2 or newer, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


@runtime_checkable
class ArrowArray(Protocol):
    """Single Arrow batch."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...


Frame = Union[ArrowStream, ArrowArray]
#: Rows: a data frame, or files, globs and folders.
Data = Union[Frame, Path, Iterable[Path]]


def is_frame(data: object) -> bool:
    """Returns True if the object exports Arrow batches."""
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def paths(data: Path | Iterable[Path]) -> list[str]:
    """Returns absolute paths, because relative paths in a run file start at the folder of that file."""
    one = isinstance(data, (str, os.PathLike))
    several: Iterable[Path] = [data] if one else data  # type: ignore[list-item, assignment]
    return [os.path.abspath(os.fspath(path)) for path in several]


def frame_of(data: Frame | Mapping[str, Any]) -> Any:
    """Returns the frame, or a table built from a dictionary of columns (each a value or a list of values)."""
    if is_frame(data):
        return data
    if not isinstance(data, Mapping):
        raise TypeError(f"expected a data frame or a dict of columns, got {type(data).__name__}")
    return _core.Table.of_columns(dict(data))
