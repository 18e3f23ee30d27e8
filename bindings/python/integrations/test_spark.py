"""Scores of a local Spark are those of `ncs score`."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from pyspark.sql import SparkSession

import ncs4cvr.spark


def test_a_data_frame_is_scored(
    folder: pathlib.Path, rows: pyarrow.Table, expected: pyarrow.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise the workers are the first python3 of the search path, which has no package.
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        pyarrow.parquet.write_table(rows, folder / "numbered.parquet")
        frame = session.read.parquet(str(folder / "numbered.parquet")).repartition(4)
        scored = ncs4cvr.spark.score(frame, folder / "out", keep=["number", "user"]).toPandas()
    finally:
        session.stop()
    assert list(scored.columns) == ["number", "user", "ctr", "cvr", "ctcvr"]
    assert len(scored) == rows.num_rows
    scored = scored.sort_values("number")
    for output, column in zip(["ctr", "cvr", "ctcvr"], expected.column_names, strict=True):
        np.testing.assert_allclose(scored[output].to_numpy(), expected[column].to_numpy(), atol=1e-6)
