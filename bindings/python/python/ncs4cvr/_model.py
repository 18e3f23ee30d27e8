"""Trained model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _core
from ._frames import Data, Frame, Path, frame_of
from ._html import table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embeddings(NamedTuple):
    """Embedding vectors of the values of a feature that training has seen."""

    #: Row numbers of the table, ascending: buckets of a hashed column, 2 + index in a vocabulary.
    rows: NDArray[np.uint32]
    #: Vectors, ``[rows, dim]``.
    vectors: NDArray[np.float32]
    #: Values of the rows, if the feature has a vocabulary; None for "missing" and "unknown".
    values: list[str | None] | None


class Model:
    """Trained model, read-only. Several threads may use it at once; forked processes must load their own."""

    def __init__(self, core: _core.Model) -> None:
        self._core = core

    @classmethod
    def load(cls, path: Path, *, lookup: Mapping[str, Path] | None = None) -> Model:
        """Reads a model from its folder, or from a run folder.

        Args:
            path: the folder.
            lookup: files of features by id, by their column of ids, such as ``{"item_id": "items.parquet"}``: columns
                that the rows of later calls lack are taken from them, as in a training with ``data.lookup``. Not used
                by ``rank``.

        Raises:
            ModelError: there is no model, or its files were modified.
        """
        files = list((lookup or {}).items())
        return cls(_core.Model.load(os.fspath(path), files))

    @property
    def path(self) -> str:
        """Folder of the model."""
        return self._core.path

    @property
    def hash(self) -> str:
        """BLAKE3 hash of the manifest, in hex: models with equal hashes are identical byte for byte."""
        return self._core.hash

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return self._core.tasks()

    @property
    def outputs(self) -> list[str]:
        """Names of the score columns: the tasks, then their product if one task is defined on another's positives."""
        return self._core.outputs

    @property
    def columns(self) -> list[str]:
        """Columns that the features read."""
        return self._core.columns

    def predict(self, data: Data, *, threads: int | None = None) -> _core.Table:
        """Scores rows. Returns a table with a column for each of ``outputs``, in the order of the rows.

        The scores are those of ``ncs score``: calibrated if the model has a calibrator. Columns that no feature
        reads are ignored; labels are not required. Memory: the scores, and one batch of the rows.

        Args:
            data: a data frame, or files, globs and folders.
            threads: worker threads (default: all cores).

        Raises:
            DataError: a row cannot be read or has no score.
        """
        return self._core.predict(data, threads)

    def evaluate(
        self, data: Data, *, slices: Iterable[str] = (), threads: int | None = None
    ) -> dict[str, Any]:
        """Evaluates the model on labelled rows; returns the metrics of ``ncs evaluate --json``.

        Args:
            data: labelled rows: a data frame, or files, globs and folders.
            slices: columns within whose values the model is evaluated too; the result has them in ``"slices"``.
            threads: worker threads (default: all cores).

        Raises:
            DataError: a label is absent, a row cannot be read or has no score.
        """
        return self._core.evaluate(data, list(slices), threads)  # type: ignore[no-any-return]

    def importance(
        self, data: Data, *, sample: int = 50_000, repeats: int = 3, seed: int = 1, threads: int | None = None
    ) -> list[dict[str, Any]]:
        """Measures what each column is worth: the loss of AUC when its values are exchanged between rows.

        Args:
            data: labelled rows that the model was not trained on: a data frame, or files, globs and folders.
            sample: most rows to use.
            repeats: permutations of each column.
            seed: seed of the permutations.
            threads: worker threads (default: all cores).

        Returns:
            A row for each column and task, largest loss first: ``column``, ``task``, ``metric``, ``loss``, ``error`` (its
            standard error over rows).

        Raises:
            DataError: a label is absent, or a row cannot be read.
        """
        found = self._core.importance(data, sample, repeats, seed, threads)
        return [{"column": column["column"], **task} for column in found["columns"] for task in column["tasks"]]

    def rank(
        self,
        context: Frame | Mapping[str, Any],
        candidates: Frame | Mapping[str, Any],
        top_k: int | None = None,
        *,
        by: str | None = None,
    ) -> _core.Table:
        """Scores the candidates of one context (a user), as a server does: user features are computed once.

        Args:
            context: one row; a dict of values or a data frame.
            candidates: one row per candidate.
            top_k: number of candidates to return, best first; None: all, in input order.
            by: the output to sort by (default: the product of the tasks, or else the last task).

        Returns:
            ``index`` (the candidate's position, from 0) and a column for each output.
        """
        one = {name: [value] for name, value in context.items()} if isinstance(context, Mapping) else context
        return self._core.rank(frame_of(one), frame_of(candidates), top_k, by)

    def encode(self, data: Data) -> dict[str, NDArray[Any]]:
        """Encodes rows as the inputs of the exported model (``export``), by name.

        Ids of categorical columns are ``int64``, numbers ``float64`` with NaN where they are missing; columns of
        ``hash = "murmur3"`` are texts (``object``), empty where they are missing. Lists are matrices
        ``[rows, longest]``, with their lengths in ``NAME.lengths``.

        Raises:
            DataError: a row cannot be read.
            ModelError: the model cannot be exported.
        """
        return self._core.encode(data)

    def export(self, path: Path) -> list[str]:
        """Writes the model as ONNX (operator set 17), with test vectors in ``PATH.vectors.json``.

        The inputs are those of ``encode``, the outputs ``p_`` and the names of ``outputs``. Constants of
        more than 1 GiB are written to ``PATH.data``.

        Returns:
            The paths of the files, the model last.

        Raises:
            ModelError: the model cannot be exported, with the part that prevents it; no file was written.
        """
        return [os.fspath(file) for file in self._core.export(os.fspath(path))]

    def inspect(self) -> dict[str, Any]:
        """Returns sizes, densities and parameter sharing between tasks, as in ``ncs inspect --json``."""
        return self._core.inspect()  # type: ignore[no-any-return]

    def describe(self) -> str:
        """Returns the text of ``ncs inspect``."""
        return self._core.describe()

    def embeddings(self, feature: str, *, task: str | None = None) -> Embeddings:
        """Returns the embedding vectors of a feature's table that training has seen.

        Args:
            feature: name of the feature, or of its column.
            task: the task whose table is returned, if each task has its own.
        """
        return Embeddings(*self._core.embeddings(feature, task))

    def masks(self) -> dict[str, dict[str, NDArray[np.bool_]]]:
        """Returns the masks by task, then by layer: connections kept, ``[inputs, outputs]``. Empty without masks."""
        return self._core.masks()

    def __repr__(self) -> str:
        return f"Model({self.path!r}, tasks={self.tasks})"

    def _repr_html_(self) -> str:
        found = self.inspect()
        densities = found["density"].items()
        title = f"{self.path}: {found['parameters']:,} parameters"
        return table(title, ["task", "share of connections kept"], densities)
