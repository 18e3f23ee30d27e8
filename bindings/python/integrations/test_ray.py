"""Scores of a local Ray are those of `ncs score`."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow
import ray

import ncs4cvr.ray


def test_a_dataset_is_scored(folder: pathlib.Path, rows: pyarrow.Table, expected: pyarrow.Table) -> None:
    ray.init(num_cpus=4, include_dashboard=False)
    try:
        dataset = ray.data.from_arrow(rows).repartition(4)
        scored = ncs4cvr.ray.score(dataset, folder / "out", concurrency=2, batch_size=200).to_pandas()
    finally:
        ray.shutdown()
    scored = scored.sort_values("number")
    for output, column in zip(["ctr", "cvr", "ctcvr"], expected.column_names, strict=True):
        np.testing.assert_allclose(scored[output].to_numpy(), expected[column].to_numpy(), atol=1e-6)
