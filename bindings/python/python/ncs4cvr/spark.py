"""Scoring in Spark: each Python worker loads the model once. Needs PySpark and pyarrow on the workers."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from ._frames import Path
from ._model import Model


@functools.lru_cache(maxsize=4)
def _loaded(path: str) -> Model:
    """Loads the model once per worker process."""
    return Model.load(path)


def scorer(path: Path, keep: Sequence[str] | None = None) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Returns a function for ``mapInArrow`` that yields the columns ``keep`` (None: all) and the scores."""
    name = os.fspath(path)
    kept = None if keep is None else list(keep)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = _loaded(name)
        for batch in batches:
            columns = batch if kept is None else batch.select(kept)
            scores = model.predict(batch, threads=1)
            arrays = list(columns.columns) + [pa.array(scores[output], pa.float32()) for output in model.outputs]
            yield pa.RecordBatch.from_arrays(arrays, names=[*columns.schema.names, *model.outputs])

    return run


def score(df: Any, model: Path, *, keep: Sequence[str] | None = None) -> Any:
    """Returns a Spark data frame with the columns of ``df`` and the scores.

    Args:
        df: a ``pyspark.sql.DataFrame``.
        model: the model's folder, which every worker can read.
        keep: columns of ``df`` to keep; None: all.
    """
    from pyspark.sql.types import FloatType, StructField, StructType

    fields = [field for field in df.schema.fields if keep is None or field.name in keep]
    if keep is not None:
        fields.sort(key=lambda field: list(keep).index(field.name))
    outputs = Model.load(model).outputs
    schema = StructType([*fields, *(StructField(output, FloatType()) for output in outputs)])
    return df.mapInArrow(scorer(model, keep), schema)
