"""A trained model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _core
from ._frames import Data, Frame, Path, frame_of
from ._html import table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embeddings(NamedTuple):
    """The vectors of a feature that training has seen."""

    #: Row numbers of the table, ascending: buckets of a hashed column, 2 + place in a vocabulary.
    rows: NDArray[np.uint32]
    #: ``[rows, dim]``.
    vectors: NDArray[np.float32]
    #: What the rows stand for, where a vocabulary says so; None for "missing" and "unknown".
    values: list[str | None] | None


class Model:
    """A frozen model. Several threads may use one at once; a process that was forked loads its own."""

    def __init__(self, core: _core.Model) -> None:
        self._core = core

    @classmethod
    def load(cls, path: Path) -> Model:
        """Reads the model in a folder: that of a run, or the model in it.

        Raises:
            ModelError: there is no model, or it was changed.
        """
        return cls(_core.Model.load(os.fspath(path)))

    @property
    def path(self) -> str:
        """The model's folder."""
        return self._core.path

    @property
    def hash(self) -> str:
        """BLAKE3 of the manifest, in hex: two models with one hash are the same, byte for byte."""
        return self._core.hash

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks."""
        return self._core.tasks()

    @property
    def outputs(self) -> list[str]:
        """The columns of the scores: the tasks, then their product where one is about another's positives."""
        return self._core.outputs

    @property
    def columns(self) -> list[str]:
        """The columns that the features read."""
        return self._core.columns

    def predict(self, data: Data, *, threads: int | None = None) -> _core.Table:
        """Scores rows: a table with a column for each of :attr:`outputs`, in the order of the rows.

        The scores are those of ``ncs score``: calibrated where the model has a calibrator. Columns that no feature
        reads are left alone; labels need not be there. Memory: the scores, and one batch of the rows.

        Args:
            data: a data frame, or files, globs and folders.
            threads: worker threads; all cores where none are stated.

        Raises:
            DataError: a row cannot be read or has no score.
        """
        return self._core.predict(data, threads)

    def evaluate(self, data: Data, *, threads: int | None = None) -> dict[str, Any]:
        """The figures of labelled rows, as ``ncs evaluate --json`` prints them.

        Raises:
            DataError: a label is absent, a row cannot be read or has no score.
        """
        return self._core.evaluate(data, threads)  # type: ignore[no-any-return]

    def rank(
        self,
        context: Frame | Mapping[str, Any],
        candidates: Frame | Mapping[str, Any],
        top_k: int | None = None,
        *,
        by: str | None = None,
    ) -> _core.Table:
        """Scores the candidates of one context (a user), as a server does: what is the user's is computed once.

        Args:
            context: one row; a dict of values or a data frame.
            candidates: a row for each candidate.
            top_k: only so many, best first; None: all, in their order.
            by: the output to sort by; the product of the tasks, or the last task, where none is named.

        Returns:
            ``index`` (the candidate's place, from 0) and a column for each output.
        """
        one = {name: [value] for name, value in context.items()} if isinstance(context, Mapping) else context
        return self._core.rank(frame_of(one), frame_of(candidates), top_k, by)

    def inspect(self) -> dict[str, Any]:
        """Sizes, densities and what the tasks share, as ``ncs inspect --json`` prints them."""
        return self._core.inspect()  # type: ignore[no-any-return]

    def describe(self) -> str:
        """The text of ``ncs inspect``."""
        return self._core.describe()

    def embeddings(self, feature: str, *, task: str | None = None) -> Embeddings:
        """The vectors of a feature's table that training has seen.

        Args:
            feature: its name, or its column.
            task: whose vectors, where the tasks have tables of their own.
        """
        return Embeddings(*self._core.embeddings(feature, task))

    def masks(self) -> dict[str, dict[str, NDArray[np.bool_]]]:
        """By task, then by layer: which connections the task keeps, ``[inputs, outputs]``. Empty without masks."""
        return self._core.masks()

    def __repr__(self) -> str:
        return f"Model({self.path!r}, tasks={self.tasks})"

    def _repr_html_(self) -> str:
        found = self.inspect()
        densities = found["density"].items()
        title = f"{self.path}: {found['parameters']:,} parameters"
        return table(title, ["task", "share of connections kept"], densities)
