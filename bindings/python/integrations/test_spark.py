"""Scores of a local Spark are those of `ncs score`."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow
from pyspark.sql import SparkSession

import ncs4cvr.spark


def test_a_data_frame_is_scored(folder: pathlib.Path, rows: pyarrow.Table, expected: pyarrow.Table) -> None:
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        pyarrow.parquet.write_table(rows, folder / "numbered.parquet")
        frame = session.read.parquet(str(folder / "numbered.parquet")).repartition(4)
        scored = ncs4cvr.spark.score(frame, folder / "out", keep=["number", "user"]).toPandas()
    finally:
        session.stop()
    assert list(scored.columns[:2]) == ["number", "user"]
    scored = scored.sort_values("number")
    for output, column in zip(["ctr", "cvr"], expected.column_names):
        np.testing.assert_allclose(scored[output].to_numpy(), expected[column].to_numpy(), atol=1e-6)
