"""Callback for MLflow tracking. Needs mlflow (or mlflow-skinny). Other trackers can use the same interface."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from ._events import Ended, Event, Validated


class MlflowCallback:
    """Logs validation metrics during training, and the final metrics, report and run file at the end.

    Uses the active MLflow run, or starts and ends its own.

    Args:
        run_name: name of the MLflow run to start.
        artifacts: files of the run's folder to log; the model is a folder, ``"model"``.
    """

    def __init__(
        self,
        run_name: str | None = None,
        *,
        artifacts: tuple[str, ...] = ("report.html", "run.toml", "metrics.json"),
    ) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        self._run_name = run_name
        self._artifacts = artifacts
        self._is_own = False

    def __call__(self, event: Event, /) -> None:
        if self._mlflow.active_run() is None:
            self._mlflow.start_run(run_name=self._run_name)
            self._is_own = True
        if isinstance(event, Validated):
            place = f"{event.phase}/{event.task}"
            figures = {
                f"{place}/validation_{event.metric}": event.value,
                f"{place}/validation_loss": event.validation_loss,
            }
            if event.train_loss is not None:
                figures[f"{place}/loss"] = event.train_loss
            self._log(figures, step=event.step)
        if isinstance(event, Ended):
            self._log(event.metrics)
            self._log_files(pathlib.Path(event.path))
            if self._is_own:
                self._mlflow.end_run()

    def _log(self, figures: dict[str, float], step: int | None = None) -> None:
        """Logs metrics; characters that MLflow does not allow in names are replaced by ``_``."""
        named = {re.sub(r"[^\w\-. /]", "_", name): value for name, value in figures.items()}
        self._mlflow.log_metrics(named, step=step)

    def _log_files(self, folder: pathlib.Path) -> None:
        for name in self._artifacts:
            path = folder / name
            if path.is_dir():
                self._mlflow.log_artifacts(str(path), name)
            elif path.exists():
                self._mlflow.log_artifact(str(path))
