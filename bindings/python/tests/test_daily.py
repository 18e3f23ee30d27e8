"""Calibration, backtests and promotion from Python: the same steps as on the command line."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import polars
import pytest

import ncs4cvr
from conftest import QUICK


def test_calibrate_takes_a_frame_and_writes_a_new_model(
    run: ncs4cvr.Run, log: ncs4cvr.Log, tmp_path: pathlib.Path
) -> None:
    rows = polars.read_parquet(log.files[2])
    made = ncs4cvr.calibrate(run.path, rows, out=tmp_path / "new", min_labels=20, task="ctr")
    assert [task["task"] for task in made["tasks"]] == ["ctr"]
    assert made["tasks"][0]["rows"] == rows.height
    new = ncs4cvr.Model.load(made["model"])
    assert new.hash != run.model.hash
    of_files = ncs4cvr.calibrate(run.path, log.files[2], out=tmp_path / "other", min_labels=20, task="ctr")
    assert of_files["tasks"] == made["tasks"]
    with pytest.raises(ncs4cvr.NcsError, match="labels"):
        ncs4cvr.calibrate(run.path, rows.head(30), out=tmp_path / "few", min_labels=200)
    assert not (tmp_path / "few").exists()


def test_backtest_evaluates_day_by_day_and_resumes(tmp_path: pathlib.Path) -> None:
    log = ncs4cvr.synth(tmp_path / "log", rows=6000, unseen=0.3, days=5, click_rate=0.3, conversion_rate=0.3, seed=3)
    found = ncs4cvr.backtest(log.run_file, out=tmp_path / "out", settings=QUICK, by="time", frozen=True)
    assert {day["line"] for day in found.days()} == {"trained further", "frozen"}
    assert {day["task"] for day in found.days()} == {"ctr", "cvr"}
    assert json.loads((found.path / "backtest.json").read_text()) == found.found
    assert "frozen" in found._repr_html_()
    again = ncs4cvr.backtest(log.run_file, out=tmp_path / "out", settings=QUICK, by="time", frozen=True)
    assert again.found == found.found
    with pytest.raises(ncs4cvr.NcsError, match="no_such"):
        ncs4cvr.backtest(log.run_file, out=tmp_path / "other", settings=QUICK, by="no_such")


def test_promote_moves_the_link_or_refuses(run: ncs4cvr.Run, log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    live = tmp_path / "served" / "feed"
    live.parent.mkdir()
    rows = polars.read_parquet(log.files[2])
    wide = {"calibration_bound": "0.1..10", "min_labels": 20}
    first = ncs4cvr.promote(run.path, live=live, data=rows, **wide)
    assert first is not None and first["action"] == "promoted"
    assert ncs4cvr.Model.load(live).hash == run.model.hash
    assert ncs4cvr.promote(run.path, live=live, data=rows, **wide) is None
    bad = tmp_path / "bad"
    ncs4cvr.train(log.run_file, out=bad, settings={**QUICK, "training.learning_rate": 1e-9})
    refused = ncs4cvr.promote(bad, live=live, data=rows, slices=["device"], **wide)
    assert refused is not None and refused["action"] == "refused" and refused["gate"]["reasons"]
    assert ncs4cvr.Model.load(live).hash == run.model.hash
    with pytest.raises(ncs4cvr.NcsError, match="first version"):
        ncs4cvr.promote(None, live=live, rollback=True)
    shutil.rmtree(tmp_path / "served")


def test_forget_erases_values_and_finds_nothing_afterwards(
    run: ncs4cvr.Run, log: ncs4cvr.Log, tmp_path: pathlib.Path
) -> None:
    rows = polars.read_parquet(log.files[0])
    user = rows["user"].mode()[0]
    copy = shutil.copytree(run.path, tmp_path / "run")
    found = ncs4cvr.forget(copy, column="user", values=[user], dry_run=True)
    assert found["dry_run"] and "model" in [place["kind"] for place in found["found"]]
    assert ncs4cvr.Model.load(copy).hash == run.model.hash
    erased = ncs4cvr.forget(copy, column="user", values=[user])
    assert erased["found"] == found["found"]
    assert erased["left"] == [] and erased["unsearched"] == []
    model = ncs4cvr.Model.load(copy)
    assert model.hash != run.model.hash
    of_user = rows.filter(polars.col("user") == user)
    unseen = of_user.with_columns(polars.lit(987654321).alias("user"))
    for output in model.outputs:
        assert list(model.predict(of_user)[output]) == list(model.predict(unseen)[output])
    with pytest.raises(ncs4cvr.NcsError, match="no column"):
        ncs4cvr.forget(copy, column="usr", values=[user])
    with pytest.raises(ValueError, match="line break"):
        ncs4cvr.forget(copy, column="user", values=["a\nb"])


def test_drift_finds_a_shifted_column(run: ncs4cvr.Run, log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    rows = polars.read_parquet(log.files[0])
    page = tmp_path / "drift.html"
    same = ncs4cvr.drift(run.path, rows, html=page)
    assert same == ncs4cvr.drift(run.path, log.files[0])
    assert page.read_text(encoding="utf-8").startswith("<!")
    shifted = ncs4cvr.drift(run.path, rows.with_columns(polars.lit("new").alias("category")))

    def index(found: dict[str, Any], name: str) -> float:
        column = next(column for column in found["columns"] if column["column"] == name)
        return float(column["shift"]["psi"])

    assert index(same, "category") < 0.05 and index(shifted, "category") > 0.25
    assert index(shifted, "device") == index(same, "device")
    with pytest.raises(ncs4cvr.NcsError):
        ncs4cvr.drift(tmp_path, rows)
