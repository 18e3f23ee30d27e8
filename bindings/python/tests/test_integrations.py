"""scikit-learn, and what Spark and Ray run, without Spark and Ray."""

from __future__ import annotations

import pathlib
import pickle
import unittest

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import ncs4cvr
from ncs4cvr import ray as ncs_ray
from ncs4cvr import spark as ncs_spark
from ncs4cvr.sklearn import NcsClassifier

QUICK = {"epochs": 30, "hidden": (16,), "dim": 4, "batch": 32, "learning_rate": 0.01}


def frame(n: int = 600) -> tuple[pandas.DataFrame, np.ndarray]:
    chance = np.random.default_rng(3)
    color = chance.choice(["red", "green", "blue"], n)
    size = chance.normal(size=n)
    odds = 2.0 * size + np.where(color == "red", 2.0, -1.0)
    y = np.where(chance.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no")
    return pandas.DataFrame({"color": color, "size": size}), y


def test_a_classifier_learns_from_a_frame() -> None:
    X, y = frame()
    classifier = NcsClassifier(**QUICK).fit(X, y)
    assert list(classifier.classes_) == ["no", "yes"]
    assert list(classifier.feature_names_in_) == ["color", "size"]
    assert classifier.score(X, y) > 0.75
    again = pickle.loads(pickle.dumps(classifier))
    assert (again.predict_proba(X) == classifier.predict_proba(X)).all()
    assert cross_val_score(NcsClassifier(**QUICK), X, y, cv=2, scoring="roc_auc").min() > 0.8


def test_scikit_learns_own_checks() -> None:
    failed = []
    for estimator, check in estimator_checks_generator(NcsClassifier(**QUICK)):
        name = getattr(check, "func", check).__name__
        try:
            check(estimator)
        except unittest.SkipTest:
            pass
        except Exception as error:
            failed.append(f"{name}: {error!r:.300}")
    assert failed == []


def test_what_spark_runs_scores_batches(run: ncs4cvr.Run, log: ncs4cvr.Log) -> None:
    rows = pyarrow.parquet.read_table(log.files[2])
    batches = rows.to_batches(max_chunksize=100)
    found = pa.Table.from_batches(list(ncs_spark.scorer(run.path, ["user"])(batches)))
    expected = run.model.predict(rows)
    assert found.column_names == ["user", *run.model.outputs]
    np.testing.assert_allclose(found["cvr"].to_numpy(), expected["cvr"], atol=1e-6)


def test_what_ray_runs_scores_batches(run: ncs4cvr.Run, log: ncs4cvr.Log) -> None:
    rows = pyarrow.parquet.read_table(log.files[2])
    found = ncs_ray.Scorer(str(run.path))(rows)
    expected = run.model.predict(rows)
    assert found.column_names == [*rows.column_names, *run.model.outputs]
    np.testing.assert_allclose(found["ctr"].to_numpy(), expected["ctr"], atol=1e-6)


def test_mlflow_gets_the_figures(
    log: ncs4cvr.Log, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from conftest import QUICK as SETTINGS
    from ncs4cvr.mlflow import MlflowCallback

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    run = ncs4cvr.train(log.run_file, out=tmp_path / "out", settings=SETTINGS, callbacks=[MlflowCallback("one")])
    (found,) = mlflow.search_runs(output_format="list")
    assert found.data.metrics["test/ctr/auc"] == pytest.approx(run.scalars()["test/ctr/auc"])
    assert any("validation" in name for name in found.data.metrics)
