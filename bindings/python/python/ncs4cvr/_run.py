"""Training, and the results in its folder."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, Union

from . import _core
from ._config import RunConfig
from ._events import Callback, Ended, event_of
from ._frames import Data, Path, is_frame, paths
from ._html import table
from ._model import Model
from ._progress import watcher

#: Path of a run file, or its settings.
RunSource = Union[Path, RunConfig, Mapping[str, Any]]


class Run:
    """Folder of a run: report, metrics, learning curves and model."""

    def __init__(self, path: Path) -> None:
        self.path = pathlib.Path(path)

    def _read(self, name: str) -> Any:
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(f"{path}: the run has not finished, or this is no folder of a run")
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def report(self) -> dict[str, Any]:
        """``report.json``: all data of the report."""
        return self._read("report.json")  # type: ignore[no-any-return]

    @property
    def figures(self) -> dict[str, Any]:
        """``metrics.json``: metrics on the test rows (or the validation rows), on the other part, and of columns."""
        return self._read("metrics.json")  # type: ignore[no-any-return]

    @property
    def metrics(self) -> _core.Table:
        """Metrics as a table: part, task, figure, value, and the interval if there is one."""
        rows = [row for row in _figures(self.figures) if row[3] is not None]
        names = ["part", "task", "figure", "value", "low", "high"]
        return _core.Table.of_columns({name: [row[i] for row in rows] for i, name in enumerate(names)})

    @property
    def history(self) -> _core.Table:
        """Learning curves as a table: task, position (epochs or steps), losses, metric, ``picked`` (selected)."""
        columns: dict[str, list[Any]] = {
            name: []
            for name in ["task", "position", "train_loss", "validation_loss", "validation_metric", "picked"]
        }
        for curve in self.report["learning"]:
            for place, point in enumerate(curve["points"]):
                columns["task"].append(curve["task"])
                for name in ["position", "train_loss", "validation_loss", "validation_metric"]:
                    value = point[name]
                    columns[name].append(None if value is None else float(value))
                columns["picked"].append(place == curve["picked"])
        return _core.Table.of_columns(columns)

    @property
    def model(self) -> Model:
        """Trained model; each access reads it from disk."""
        return Model.load(self.path)

    @property
    def html(self) -> pathlib.Path:
        """Path of the report, a self-contained HTML page."""
        return self.path / "report.html"

    def scalars(self) -> dict[str, float]:
        """Returns the metrics by name, such as ``test/ctr/auc``, for experiment trackers."""
        return {f"{row[0]}/{row[1]}/{row[2]}": row[3] for row in _figures(self.figures) if row[3] is not None}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        rows = [row for row in _figures(self.figures) if row[3] is not None]
        return table(f"{self.path} ({self.html})", ["part", "task", "figure", "value", "low", "high"], rows)


def _figures(figures: dict[str, Any]) -> list[list[Any]]:
    """Returns rows of part, task, figure, value, low, high."""
    rows: list[list[Any]] = []
    parts = [(figures.get("part"), figures), ("valid", figures.get("valid"))]
    for part, metrics in parts:
        if not metrics or "tasks" not in metrics:
            continue
        tasks = dict(metrics["tasks"])
        if metrics.get("ctcvr"):
            tasks["ctcvr"] = metrics["ctcvr"]
        for task, found in tasks.items():
            for figure, value in found.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    low, high = found.get(f"{figure}_interval") or (None, None)
                    rows.append([part, task, figure, float(value), low, high])
    return rows


def _source(run: RunSource) -> tuple[str | None, str | None]:
    if isinstance(run, (str, os.PathLike)):
        return os.fspath(run), None
    return None, json.dumps(_without_none(run))


def _without_none(value: Any) -> Any:
    """Removes keys that are None, because TOML has no null."""
    if isinstance(value, Mapping):
        return {str(key): _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _assignments(settings: Mapping[str, Any] | None, data: Mapping[str, Data | None]) -> list[str]:
    """Returns overrides in the form of ``--set``: settings by dotted key, then the files of parts."""
    given = dict(settings or {})
    for part, rows in data.items():
        if rows is not None and not is_frame(rows):
            given[f"data.{part}"] = paths(rows)  # type: ignore[arg-type]
    return [f"{key}={_toml(_without_none(value))}" for key, value in given.items() if value is not None]


def _toml(value: Any) -> str:
    """Formats a TOML value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # Strings, numbers and booleans are written as in JSON, except one character that TOML requires to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _frames(data: Mapping[str, Data | None]) -> dict[str, Any]:
    return {part: rows for part, rows in data.items() if rows is not None and is_frame(rows)}


def train(
    run: RunSource,
    train: Data | None = None,
    valid: Data | None = None,
    test: Data | None = None,
    *,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    callbacks: Iterable[Callback] = (),
    fresh: bool = False,
    progress: bool | None = None,
) -> Run:
    """Trains a model into a folder: searches masks, trains, evaluates, writes. Resumes an interrupted run.

    Ctrl-C stops the run within a second; the same call resumes it.

    Args:
        run: the path of a run file, or its settings as a dict (``RunConfig`` for completion in editors). Relative
            paths start at the run file's folder, those of a dict at the working folder.
        train: training rows that replace ``data.train``: a data frame, or paths. Frames are stored in ``out/frames``, so
            that the run can be resumed, and repeated from ``out/run.toml``.
        valid: validation rows, likewise.
        test: test rows, likewise.
        out: the folder of the run.
        settings: overrides by dotted key, such as ``{"training.epochs": 3}``.
        callbacks: called with each event. An exception in one stops the run and is raised here.
        fresh: start from scratch, even if the folder holds a checkpoint of the same run.
        progress: show a progress bar; None: only in notebooks and on terminals.

    Raises:
        ConfigError: invalid settings, each with its line and the nearest known name.
        DataError: unreadable rows.
        TrainingError: the folder holds another run, or a loss is NaN.
    """
    data = {"train": train, "valid": valid, "test": test}
    hear = list(callbacks)

    def on_event(fields: dict[str, Any]) -> None:
        event = event_of(fields)
        for callback in hear:
            callback(event)

    _core.train(
        _source(run),
        _assignments(settings, data),
        _frames(data),
        os.fspath(out),
        fresh,
        watcher(progress),
        on_event if hear else None,
    )
    found = Run(out)
    for callback in hear:
        callback(Ended(metrics=found.scalars(), path=str(found.path)))
    return found


def check(
    run: RunSource,
    train: Data | None = None,
    valid: Data | None = None,
    test: Data | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    rows: int | None = None,
    all_rows: bool = False,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Checks settings against data. Returns the JSON of ``ncs check --json``, with its text under ``"text"``.

    Raises:
        ConfigError, DataError: errors that a training would raise, too.
    """
    data = {"train": train, "valid": valid, "test": test}
    with tempfile.TemporaryDirectory() as folder:
        given = _kept(data, folder)
        found, text = _core.check(_source(run), _assignments(settings, given), rows, all_rows, watcher(progress))
    return {**found, "text": text}


def _kept(data: Mapping[str, Data | None], folder: str) -> dict[str, Data | None]:
    """Writes frames to files in a folder; returns paths unchanged."""
    return {
        part: _core.keep_frame(rows, part, folder) if rows is not None and is_frame(rows) else rows
        for part, rows in data.items()
    }


def tune(
    run: RunSource,
    train: Data | None = None,
    valid: Data | None = None,
    *,
    out: Path,
    budget: str = "10m",
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Tunes unset settings of a run on validation rows, and writes the best run file, ``out/tuned.toml``.

    Args:
        budget: time to spend, such as ``"10m"`` or ``"2h"``; a started trial is completed.

    Returns:
        The best settings, the trials, the importance of each setting; ``"tuned"`` is the path of the best run file.
    """
    folder = pathlib.Path(out)
    given = _kept({"train": train, "valid": valid}, str(folder / "frames"))
    text = _core.standing_alone(_source(run), _assignments(settings, given))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    found: dict[str, Any] = _core.tune(
        [str(file), "--out", str(folder), "--budget", budget], watcher(progress)
    )
    return {**found, "tuned": str(folder / "tuned.toml")}


def init(
    data: Data,
    *,
    out: Path = "run.toml",
    click: str | None = None,
    conversion: str | None = None,
    tasks: Mapping[str, str] | None = None,
    valid: Data | None = None,
    test: Data | None = None,
    time: str | None = None,
    group: str | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> str:
    """Writes a run file for a log: columns by kind, suspected label leaks left out, a split, the tasks.

    Frames are stored in ``frames`` beside the run file.

    Returns:
        The messages that ``ncs init`` prints.
    """
    folder = str(pathlib.Path(out).parent / "frames")
    arguments = _paths(data, "train", folder)
    for part, rows in [("valid", valid), ("test", test)]:
        for path in _paths(rows, part, folder):
            arguments += [f"--{part}", path]
    for flag, value in [("click", click), ("conversion", conversion), ("time", time), ("group", group)]:
        if value is not None:
            arguments.append(f"--{flag}={value}")
    for name, label in (tasks or {}).items():
        arguments.append(f"--task={name}={label}")
    arguments.append(f"--out={os.fspath(out)}")
    if force:
        arguments.append("--force")
    return _core.init(arguments, watcher(progress))


def _paths(data: Data | None, part: str, folder: str) -> list[str]:
    """Returns paths as they were given, because ``ncs init`` writes them relative to the run file; a frame is stored."""
    if data is None:
        return []
    if is_frame(data):
        return [os.path.join(folder, os.path.basename(_core.keep_frame(data, part, folder)))]
    if isinstance(data, (str, os.PathLike)):
        return [os.fspath(data)]
    return [os.fspath(path) for path in data]  # type: ignore[union-attr]
