"""A model and rows to score with it, and what `ncs score` says of them."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest

import ncs4cvr

QUICK = {"threads": 1, "network.hidden": [16], "network.dim": 4, "training.epochs": 1, "evaluation.bootstrap": 0}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`log/`, `out/` (the run) and `scores.parquet`."""
    root = tmp_path_factory.mktemp("integrations")
    log = ncs4cvr.synth(root / "log", rows=6000, click_rate=0.3, conversion_rate=0.3)
    ncs4cvr.train(log.run_file, out=root / "out", settings=QUICK)
    words = ["score", str(root / "out"), "--data", log.files[2], "--out", str(root / "scores.parquet")]
    subprocess.run([sys.executable, "-m", "ncs4cvr", "--quiet", *words], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def rows(folder: pathlib.Path) -> pyarrow.Table:
    """The rows, numbered, as nothing promises their order on the way."""
    rows = pyarrow.parquet.read_table(folder / "log" / "test.parquet")
    return rows.append_column("number", pyarrow.array(range(rows.num_rows), pyarrow.int64()))


@pytest.fixture(scope="session")
def expected(folder: pathlib.Path) -> pyarrow.Table:
    return pyarrow.parquet.read_table(folder / "scores.parquet")
