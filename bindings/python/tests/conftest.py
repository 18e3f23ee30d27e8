"""A synthetic log and a model trained on it, made once."""

from __future__ import annotations

import pathlib

import pytest

import ncs4cvr

#: A network that trains in a second, the same on every machine.
QUICK = {
    "threads": 1,
    "network.hidden": [16],
    "network.dim": 4,
    "training.epochs": 1,
    "evaluation.bootstrap": 0,
}


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> ncs4cvr.Log:
    folder = tmp_path_factory.mktemp("log")
    return ncs4cvr.synth(folder / "log", rows=6000, click_rate=0.3, conversion_rate=0.3, seed=3)


@pytest.fixture(scope="session")
def run(log: ncs4cvr.Log, tmp_path_factory: pytest.TempPathFactory) -> ncs4cvr.Run:
    out = tmp_path_factory.mktemp("run") / "out"
    return ncs4cvr.train(log.run_file, out=out, settings=QUICK)


@pytest.fixture(scope="session")
def model(run: ncs4cvr.Run) -> ncs4cvr.Model:
    return run.model


def model_bytes(run: ncs4cvr.Run) -> dict[str, bytes]:
    """The files of a run's model."""
    folder = pathlib.Path(run.path) / "model"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
