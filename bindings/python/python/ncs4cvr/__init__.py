"""Click and conversion prediction with one subnetwork per task inside a shared network.

Train with ``train``, which returns a ``Run``; load a trained model with ``Model.load``. Rows are data
frames of any library that exports Arrow (polars, pandas, pyarrow, DuckDB), or files. The guide is ``docs/python.md``.
"""

from __future__ import annotations

from ._config import RunConfig
from ._core import Server, Table, __version__
from ._daily import Backtest, backtest, calibrate, drift, forget, promote
from ._errors import ConfigError, DataError, ForkError, ModelError, NcsError, TrainingError
from ._events import Callback, Ended, Event, Noted, PhaseEnded, PhaseStarted, Validated
from ._model import Embeddings, Model
from ._run import Run, check, init, train, tune
from ._verbs import Comparison, Log, compare, serve, synth

__all__ = [
    "Backtest",
    "Callback",
    "Comparison",
    "ConfigError",
    "DataError",
    "Embeddings",
    "Ended",
    "Event",
    "ForkError",
    "Log",
    "Model",
    "ModelError",
    "NcsError",
    "Noted",
    "PhaseEnded",
    "PhaseStarted",
    "Run",
    "RunConfig",
    "Server",
    "Table",
    "TrainingError",
    "Validated",
    "__version__",
    "backtest",
    "calibrate",
    "check",
    "compare",
    "drift",
    "forget",
    "init",
    "promote",
    "serve",
    "synth",
    "train",
    "tune",
]
