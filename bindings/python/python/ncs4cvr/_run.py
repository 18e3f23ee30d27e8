"""A training and what it left in its folder."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from . import _core
from ._config import RunConfig
from ._events import Callback, Ended, event_of
from ._frames import Data, Path, is_frame, paths
from ._html import table
from ._model import Model
from ._progress import watcher

#: A run file's path, or its settings.
RunSaid = Union[Path, RunConfig, Mapping[str, Any]]


class Run:
    """The folder of a run: its report, its figures, how it learned, its model."""

    def __init__(self, path: Path) -> None:
        self.path = pathlib.Path(path)

    def _read(self, name: str) -> Any:
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(f"{path}: the run has not finished, or this is no folder of a run")
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def report(self) -> dict[str, Any]:
        """``report.json``: everything that the report shows."""
        return self._read("report.json")  # type: ignore[no-any-return]

    @property
    def figures(self) -> dict[str, Any]:
        """``metrics.json``: the figures of the test rows (or the validation rows), of the others, of the columns."""
        return self._read("metrics.json")  # type: ignore[no-any-return]

    @property
    def metrics(self) -> _core.Table:
        """The figures as a table: part, task, figure, value, and the interval where there is one."""
        rows = [row for row in _figures(self.figures) if row[3] is not None]
        names = ["part", "task", "figure", "value", "low", "high"]
        return _core.Table.of_columns({name: [row[i] for row in rows] for i, name in enumerate(names)})

    @property
    def history(self) -> _core.Table:
        """The learning curves as a table: task, position (epochs or steps), losses, metric, whether it was picked."""
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
        """The trained model, read anew."""
        return Model.load(self.path)

    @property
    def html(self) -> pathlib.Path:
        """The report, a page that needs nothing else."""
        return self.path / "report.html"

    def scalars(self) -> dict[str, float]:
        """The figures by name, such as ``test/ctr/auc``: what trackers take."""
        return {f"{row[0]}/{row[1]}/{row[2]}": row[3] for row in _figures(self.figures) if row[3] is not None}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        rows = [row for row in _figures(self.figures) if row[3] is not None]
        return table(f"{self.path} ({self.html})", ["part", "task", "figure", "value", "low", "high"], rows)


def _figures(figures: dict[str, Any]) -> list[list[Any]]:
    """Part, task, figure, value, low, high."""
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


def _said(run: RunSaid) -> tuple[str | None, str | None]:
    if isinstance(run, (str, os.PathLike)):
        return os.fspath(run), None
    return None, json.dumps(_without_none(run))


def _without_none(value: Any) -> Any:
    """TOML has no null: a key that is None is not stated."""
    if isinstance(value, Mapping):
        return {str(key): _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _assignments(settings: Mapping[str, Any] | None, data: Mapping[str, Data | None]) -> list[str]:
    """Overrides as after ``--set``: settings by dotted key, then the files of parts."""
    given = dict(settings or {})
    for part, rows in data.items():
        if rows is not None and not is_frame(rows):
            given[f"data.{part}"] = paths(rows)  # type: ignore[arg-type]
    return [f"{key}={_toml(_without_none(value))}" for key, value in given.items() if value is not None]


def _toml(value: Any) -> str:
    """A TOML value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # Texts, numbers and truths are written as in JSON, but for a character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _frames(data: Mapping[str, Data | None]) -> dict[str, Any]:
    return {part: rows for part, rows in data.items() if rows is not None and is_frame(rows)}


def train(
    run: RunSaid,
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

    Ctrl-C stops within a second and leaves a run that the same call goes on with.

    Args:
        run: the path of a run file, or its settings as a dict (:class:`RunConfig` for completion in editors). Relative
            paths start at the run file's folder, those of a dict at the working folder.
        train, valid, test: rows in place of the run file's files: data frames, or paths. Rows of frames are kept in
            ``out/frames``, so that the run can be resumed, and repeated from ``out/run.toml``.
        out: the folder of the run.
        settings: overrides by dotted key, such as ``{"training.epochs": 3}``.
        callbacks: called with each :data:`Event`. What one raises stops the run and is raised here.
        fresh: start over, even if the folder holds a checkpoint of the same run.
        progress: show a bar; None: in notebooks and on terminals.

    Raises:
        ConfigError: settings that are wrong, each with its line and the nearest known name.
        DataError: rows that cannot be read.
        TrainingError: the folder holds another run, or a loss that is no number.
    """
    data = {"train": train, "valid": valid, "test": test}
    hear = list(callbacks)

    def on_event(said: dict[str, Any]) -> None:
        event = event_of(said)
        for callback in hear:
            callback(event)

    _core.train(
        _said(run),
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
    run: RunSaid,
    train: Data | None = None,
    valid: Data | None = None,
    test: Data | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    rows: int | None = None,
    all_rows: bool = False,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Checks settings against data: the JSON of ``ncs check --json``, with its text under ``"text"``.

    Raises:
        ConfigError, DataError: what a training would refuse, too.
    """
    data = {"train": train, "valid": valid, "test": test}
    with tempfile.TemporaryDirectory() as folder:
        given = _kept(data, folder)
        found, text = _core.check(_said(run), _assignments(settings, given), rows, all_rows, watcher(progress))
    return {**found, "text": text}


def _kept(data: Mapping[str, Data | None], folder: str) -> dict[str, Data | None]:
    """Frames as files in a folder; files as they are."""
    return {
        part: _core.keep_frame(rows, part, folder) if rows is not None and is_frame(rows) else rows
        for part, rows in data.items()
    }


def tune(
    run: RunSaid,
    train: Data | None = None,
    valid: Data | None = None,
    *,
    out: Path,
    budget: str = "10m",
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Tunes the settings that the run leaves open, on validation rows: ``out/tuned.toml`` is the best run file.

    Args:
        budget: time to spend, such as ``"10m"`` or ``"2h"``; a trial that has started is finished.

    Returns:
        The best settings, the trials, how much each setting mattered; ``"tuned"`` is the path of the best run file.
    """
    folder = pathlib.Path(out)
    given = _kept({"train": train, "valid": valid}, str(folder / "frames"))
    text = _core.standing_alone(_said(run), _assignments(settings, given))
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

    Rows of frames are kept in ``frames`` beside the run file.

    Returns:
        What there is to say of it, as ``ncs init`` prints it.
    """
    folder = str(pathlib.Path(out).absolute().parent / "frames")
    given = _kept({"train": data, "valid": valid, "test": test}, folder)
    arguments: list[str] = list(_paths(given["train"]))
    for part in ["valid", "test"]:
        for path in _paths(given[part]):
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


def _paths(data: Data | None) -> Sequence[str]:
    return [] if data is None else paths(data)  # type: ignore[arg-type]
