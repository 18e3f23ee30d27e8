"""Compiled part of the package; use it through ``ncs4cvr``."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Table:
    """Named columns of equal length. Any reader of Arrow accepts it: ``polars.DataFrame(table)``, ``pyarrow.table(table)``."""

    @staticmethod
    def of_columns(columns: dict[str, Any]) -> Table:
        """Builds a table from columns of integers, floats, booleans or strings; None becomes null."""
    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
    @property
    def num_rows(self) -> int:
        """Number of rows."""
    def __len__(self) -> int: ...
    def __getitem__(self, name: str) -> Any:
        """Returns a column: a numpy array if it holds numbers without nulls, otherwise a list."""
    def to_pyarrow(self) -> Any:
        """Converts to a ``pyarrow.Table`` without copying."""
    def to_pandas(self) -> Any:
        """Converts to a ``pandas.DataFrame``; needs pyarrow."""
    def to_polars(self) -> Any:
        """Converts to a ``polars.DataFrame`` without copying."""
    def _repr_html_(self) -> str: ...
    def __arrow_c_schema__(self) -> Any: ...
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

class Model:
    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model: ...
    @property
    def path(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def outputs(self) -> list[str]: ...
    @property
    def columns(self) -> list[str]: ...
    def predict(self, data: Any, threads: int | None = None) -> Table: ...
    def evaluate(self, data: Any, threads: int | None = None) -> Any: ...
    def rank(
        self, context: Any, candidates: Any, top_k: int | None = None, by: str | None = None
    ) -> Table: ...
    def inspect(self) -> Any: ...
    def describe(self) -> str: ...
    def embeddings(
        self, feature: str, task: str | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32], list[str | None] | None]: ...
    def masks(self) -> dict[str, dict[str, NDArray[np.bool_]]]: ...
    def tasks(self) -> list[str]: ...

class Server:
    """Running server. It stops at the end of a ``with`` block, by ``stop``, or when it is garbage-collected."""

    @property
    def http(self) -> str:
        """Address and port of HTTP."""
    @property
    def grpc(self) -> str:
        """Address and port of gRPC."""
    @property
    def admin(self) -> str:
        """Address and port of the admin API and the metrics."""
    def stop(self) -> None:
        """Stops the server gracefully: waits until the requests in progress are answered."""
    def __enter__(self) -> Server: ...
    def __exit__(self, *_raised: object) -> None: ...

def train(
    run: tuple[str | None, str | None],
    assignments: list[str],
    frames: dict[str, Any],
    out: str | os.PathLike[str],
    fresh: bool,
    watcher: Any,
    on_event: Any,
) -> Any: ...
def check(
    run: tuple[str | None, str | None],
    assignments: list[str],
    rows: int | None,
    all_rows: bool,
    watcher: Any,
) -> tuple[Any, str]: ...
def standing_alone(run: tuple[str | None, str | None], assignments: list[str]) -> str: ...
def keep_frame(frame: Any, name: str, folder: str | os.PathLike[str]) -> str: ...
def schema() -> Any: ...
def synth(arguments: list[str], watcher: Any) -> Any: ...
def init(arguments: list[str], watcher: Any) -> str: ...
def compare(arguments: list[str], program: list[str], watcher: Any) -> tuple[Any, list[str]]: ...
def tune(arguments: list[str], watcher: Any) -> Any: ...
def serve(arguments: list[str]) -> Server: ...
def main(arguments: list[str], program: list[str]) -> int: ...
