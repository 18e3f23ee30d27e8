"""A trained model: the same scores as the command line, from many threads, without growing."""

from __future__ import annotations

import gc
import json
import pathlib
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest

import ncs4cvr


def ncs(*arguments: str) -> str:
    """What the command line prints."""
    words = [sys.executable, "-m", "ncs4cvr", "--quiet", *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_scores_are_those_of_ncs_score(
    run: ncs4cvr.Run, log: ncs4cvr.Log, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "scores.parquet"
    ncs("score", str(run.path), "--data", log.files[2], "--out", str(out))
    expected = polars.read_parquet(out)
    found = run.model.predict(polars.read_parquet(log.files[2]))
    assert found.column_names == run.model.outputs
    for output, column in zip(found.column_names, expected.columns):
        np.testing.assert_allclose(found[output], expected[column].to_numpy(), atol=1e-6)


def test_figures_are_those_of_ncs_evaluate(run: ncs4cvr.Run, log: ncs4cvr.Log) -> None:
    expected = json.loads(ncs("evaluate", str(run.path), "--data", log.files[2], "--json"))
    found = run.model.evaluate(polars.read_parquet(log.files[2]))
    assert found["tasks"]["ctr"]["auc"] == pytest.approx(expected["tasks"]["ctr"]["auc"], abs=1e-9)
    assert set(found) == set(expected)


def test_slices_add_up_to_all_rows(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    rows = polars.read_parquet(log.files[2])
    of_frame = model.evaluate(rows, slices=["device", "session"])
    assert of_frame["slices"] == model.evaluate(log.files[2], slices=["device", "session"])["slices"]
    device = [found for found in of_frame["slices"] if found["column"] == "device"]
    assert sum(found["rows"] for found in device) == rows.height
    first = device[0]
    part = rows.filter(polars.col("device").cast(str) == first["value"])
    assert first["tasks"]["ctr"]["auc"] == pytest.approx(model.evaluate(part)["tasks"]["ctr"]["auc"])
    with pytest.raises(ncs4cvr.DataError, match="no_such"):
        model.evaluate(rows, slices=["no_such"])


def test_importance_is_that_of_ncs_importance(run: ncs4cvr.Run, log: ncs4cvr.Log) -> None:
    printed = json.loads(ncs("importance", str(run.path), "--data", log.files[2], "--repeats", "1", "--json"))
    found = run.model.importance(polars.read_parquet(log.files[2]), repeats=1)
    assert found == [
        {"column": column["column"], **task} for column in printed["columns"] for task in column["tasks"]
    ]
    assert {row["column"] for row in found} == set(run.model.columns)


def test_inspect_is_that_of_ncs_inspect(run: ncs4cvr.Run) -> None:
    assert run.model.inspect() == json.loads(ncs("inspect", str(run.path), "--json"))
    assert run.model.describe() == ncs("inspect", str(run.path))


def test_threads_score_one_model(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    rows = polars.read_parquet(log.files[2])
    expected = model.predict(rows, threads=1)["cvr"]

    def predict(_: int) -> Any:
        return model.predict(rows, threads=1)["cvr"]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(predict, range(32)):
            assert (found == expected).all()


def test_rank_scores_as_whole_rows_do(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    rows = polars.read_parquet(log.files[2]).head(50)
    of_user = ["user", "hour", "device", "city"]
    context = {name: rows[name][0] for name in of_user}
    candidates = rows.drop(of_user)
    whole = candidates.with_columns(**{name: polars.lit(value, rows[name].dtype) for name, value in context.items()})
    expected = model.predict(whole)
    every = model.rank(context, candidates)
    last = model.outputs[-1]
    assert list(every["index"]) == list(range(50))
    np.testing.assert_allclose(every[last], expected[last], atol=1e-5)
    best = model.rank(context, candidates, top_k=5)
    order = np.argsort(-every[last], kind="stable")[:5]
    assert list(best["index"]) == list(order)
    with pytest.raises(ncs4cvr.ModelError, match="no output"):
        model.rank(context, candidates, by="ctrr")


def test_embeddings_and_masks(model: ncs4cvr.Model) -> None:
    rows, vectors, values = model.embeddings("user")
    assert vectors.shape == (len(rows), 4) and vectors.dtype == np.float32
    assert (np.diff(rows.astype(np.int64)) > 0).all()
    assert values is None or len(values) == len(rows)
    masks = model.masks()
    assert list(masks) == model.tasks
    kept = np.mean([mask.mean() for mask in masks["ctr"].values()])
    assert 0 < kept < 1
    densities = model.inspect()["density"]
    n_kept = sum(int(mask.sum()) for mask in masks["ctr"].values())
    n_all = sum(mask.size for mask in masks["ctr"].values())
    assert densities["ctr"] == pytest.approx(n_kept / n_all)
    with pytest.raises(ncs4cvr.ModelError, match="no feature"):
        model.embeddings("nobody")


def test_a_table_goes_to_every_library(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    found = model.predict(log.files[2])
    n = len(found)
    assert pa.table(found).num_rows == found.to_pandas().shape[0] == found.to_polars().height == n
    assert found.to_polars().columns == found.column_names
    assert "<table>" in found._repr_html_() and "<table>" in model._repr_html_()
    with pytest.raises(KeyError, match="ctr"):
        found["click"]


def test_no_rows_have_no_scores(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    rows = polars.read_parquet(log.files[2])
    assert len(model.predict(rows.head(0))) == 0
    none = model.rank({"user": 1}, rows.drop("user").head(0), top_k=3)
    assert len(none) == 0 and none.column_names == ["index", *model.outputs]


def test_no_model_is_a_model_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ncs4cvr.ModelError, match="no model here"):
        ncs4cvr.Model.load(tmp_path)


def resident() -> int:
    """Bytes in memory now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_thousand_predictions_leave_memory_flat(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    rows = pa.table(polars.read_parquet(log.files[2]).head(500))
    for _ in range(100):
        model.predict(rows)
    gc.collect()
    before = resident()
    for _ in range(1000):
        model.predict(rows)
    gc.collect()
    # 500 rows of scores, 6 kB, and of ids, leaked a thousand times would be tens of MiB.
    assert resident() - before < 4 << 20
