"""Rows as Python hands them over: frames, paths, or dictionaries of columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Union, runtime_checkable

from . import _core

Path = Union[str, "os.PathLike[str]"]


@runtime_checkable
class ArrowStream(Protocol):
    """A frame of any library that offers Arrow batches: polars, pandas 2.2 or newer, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


@runtime_checkable
class ArrowArray(Protocol):
    """One Arrow batch."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...


Frame = Union[ArrowStream, ArrowArray]
#: Rows: a frame, or files, globs and folders.
Data = Union[Frame, Path, Iterable[Path]]


def is_frame(data: object) -> bool:
    """Whether it offers Arrow batches."""
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def paths(data: Path | Iterable[Path]) -> list[str]:
    """The paths, absolute, since a run file's relative ones start at its own folder."""
    one = isinstance(data, (str, os.PathLike))
    several: Iterable[Path] = [data] if one else data  # type: ignore[list-item, assignment]
    return [os.path.abspath(os.fspath(path)) for path in several]


def frame_of(data: Frame | Mapping[str, Any]) -> Any:
    """The frame; of a dictionary, a table with its values: one value each, or a list of them for each column."""
    if is_frame(data):
        return data
    if not isinstance(data, Mapping):
        raise TypeError(f"expected a data frame or a dict of columns, got {type(data).__name__}")
    return _core.Table.of_columns(dict(data))
