"""Scoring in Ray: each actor loads the model once. Needs Ray and pyarrow."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

from ._frames import Path
from ._model import Model


class Scorer:
    """Actor for ``map_batches``: appends the scores to the columns of each batch."""

    def __init__(self, path: str) -> None:
        self._model = Model.load(path)

    def __call__(self, batch: pa.Table) -> pa.Table:
        scores = self._model.predict(batch, threads=1)
        for output in self._model.outputs:
            batch = batch.append_column(output, pa.array(scores[output], pa.float32()))
        return batch


def score(dataset: Any, model: Path, *, concurrency: int = 1, **options: Any) -> Any:
    """Returns a Ray dataset with the columns of ``dataset`` and the scores.

    Args:
        dataset: a ``ray.data.Dataset``.
        model: the model's folder, which every node can read.
        concurrency: number of scoring actors.
        options: further arguments of ``map_batches``, such as ``batch_size``.
    """
    return dataset.map_batches(
        Scorer,
        fn_constructor_args=(os.fspath(model),),
        batch_format="pyarrow",
        concurrency=concurrency,
        **options,
    )
