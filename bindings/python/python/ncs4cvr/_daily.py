"""Commands that keep a model up to date: calibration, backtests, promotion, drift, erased values."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from . import _core
from ._frames import Data, Path, is_frame, paths
from ._html import table
from ._progress import watcher
from ._run import RunSource, _assignments, _source
from ._verbs import _flags


def _files(data: Data, folder: str) -> list[str]:
    """Returns paths; a data frame is written to a file in the folder."""
    return [_core.keep_frame(data, "data", folder)] if is_frame(data) else paths(data)  # type: ignore[arg-type]


def calibrate(
    model: Path, data: Data, *, out: Path | None = None, progress: bool | None = None, **settings: Any
) -> dict[str, Any]:
    """Fits new calibrators of a model to labelled rows, without training; writes the model with them.

    Args:
        model: a run folder, or the model in it.
        data: labelled rows that the model was not trained on: a data frame, or files, globs and folders.
        out: folder of the new model; None: the model is replaced.
        settings: as the flags of ``ncs calibrate``: ``kind``, ``task``, ``min_labels``, ``time``, ``threads``.

    Returns:
        For each task the calibration before and after, as ``ncs calibrate --json``; ``"model"`` is the new folder.

    Raises:
        DataError: the rows cannot be read, or have too few labels; nothing was written.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--data={path}" for path in _files(data, folder)]
        flags = _flags({"out": out, **settings})
        change, made = _core.calibrate([os.fspath(model), *words, *flags], watcher(progress))
    return {**change, "model": made}


class Backtest:
    """Result of a backtest; its report is ``backtest.html`` in its folder."""

    def __init__(self, path: Path, found: dict[str, Any]) -> None:
        self.path = pathlib.Path(path)
        #: Contents of ``backtest.json``: ``lines``, each with its ``days``, and ``notes``.
        self.found = found

    def days(self) -> list[dict[str, Any]]:
        """Returns a row for each way of training, day and task: AUC, grouped AUC, PCOC, rows, seconds."""
        return [
            {
                "line": line["name"],
                "day": day["day"],
                "task": task,
                "auc": found.get("auc"),
                "gauc": found.get("gauc"),
                "pcoc": found.get("pcoc"),
                "rows": day["rows"],
                "seconds": day["seconds"],
            }
            for line in self.found["lines"]
            for day in line["days"]
            for task, found in day["metrics"]["tasks"].items()
        ]

    def __repr__(self) -> str:
        return f"Backtest({str(self.path)!r})"

    def _repr_html_(self) -> str:
        days = self.days()
        header = list(days[0]) if days else []
        return table(str(self.path / "backtest.html"), header, [list(day.values()) for day in days])


def backtest(
    run: RunSource,
    *,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Backtest:
    """Trains day by day and evaluates each day before training on it, as ``ncs backtest``. Resumes.

    Args:
        run: a run file, a dictionary or a ``RunConfig``; the latter two are written to ``OUT.toml``.
        out: folder for the models, the table by day and the report.
        settings: overrides of the run.
        options: as the flags of ``ncs backtest``: ``by``, ``days``, ``initial``, ``window``, ``frozen``, ``valid``,
            ``keep_models``.

    Raises:
        ConfigError: the run or an option is invalid.
        DataError: nothing names the day of a row, or rows cannot be read.
    """
    folder = pathlib.Path(out)
    assignments = _assignments(settings, {})
    if isinstance(run, (str, os.PathLike)):
        words = [os.fspath(run), *(f"--set={assignment}" for assignment in assignments)]
    else:
        file = folder.with_name(f"{folder.name}.toml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_core.standing_alone(_source(run), assignments), encoding="utf-8")
        words = [str(file)]
    words += _flags({"out": folder, **options})
    return Backtest(folder, _core.backtest(words, watcher(progress)))


def promote(
    candidate: Path | None,
    *,
    live: Path,
    data: Data | None = None,
    slices: list[str] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> dict[str, Any] | None:
    """Compares a candidate with the served model, and lets it serve unless it is worse; as ``ncs promote``.

    Args:
        candidate: the new model; None with ``rollback=True``.
        live: the served model, a link that this function creates and moves.
        data: labelled rows that neither model was trained on.
        slices: columns within whose values the models are compared too.
        settings: as the flags of ``ncs promote``: ``level``, ``tolerance``, ``calibration_bound``, ``min_labels``,
            ``keep``, ``dry_run``, ``rollback``.

    Returns:
        The decision, as recorded: ``"action"`` is ``"promoted"``, ``"refused"`` (with the reasons in ``"gate"``) or
        ``"rolled_back"``. None if the candidate serves already.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [] if candidate is None else [os.fspath(candidate)]
        rows = [] if data is None else ["--data", *_files(data, folder)]
        words += [f"--live={os.fspath(live)}", *(f"--slice={name}" for name in slices or []), *_flags(settings)]
        decided: dict[str, Any] | None = _core.promote([*words, *rows], watcher(progress))
    return decided


def drift(
    model: Path, data: Data, *, html: Path | None = None, progress: bool | None = None, **settings: Any
) -> dict[str, Any]:
    """Compares rows with those that a model was trained on: shift of columns and scores, unseen values, calibration; as
    ``ncs drift``.

    Args:
        model: a run folder, or the model in it.
        data: later rows: a data frame, or files, globs and folders. Labels may be missing.
        html: also write a page with pictures to this file.
        settings: as the flags of ``ncs drift``: ``threads``, and those about files.

    Returns:
        For each column and score its population stability index and what chance gives, as ``ncs drift --json``.

    Raises:
        DataError: the rows cannot be read.
        NcsError: the model is of an earlier version and carries no distributions.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--data={path}" for path in _files(data, folder)]
        flags = _flags({"html": html, **settings})
        found: dict[str, Any] = _core.drift([os.fspath(model), *words, *flags], watcher(progress))
    return found


def forget(
    model: Path,
    *,
    column: str,
    values: Iterable[Any],
    also: Iterable[Path] = (),
    dry_run: bool = False,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Erases values, such as users' ids, from a model and from what was written beside it; as ``ncs forget``.

    Args:
        model: a run folder (all of it is searched), a model, or the link that ``promote`` moves.
        column: the column whose values are erased.
        values: the values, of any type; none may contain a line break.
        also: further folders: runs, models, id caches, score logs.
        dry_run: search only.

    Returns:
        What held a value (``"found"``), what still does after the erasure (``"left"``), and files that could not be
        searched (``"unsearched"``): the erasure is complete if both are empty.

    Raises:
        NcsError: the model has no ids of this column, or a process works in a run's folder; nothing was changed.
    """
    lines = [str(value) for value in values]
    if any(len(line.splitlines()) > 1 for line in lines):
        raise ValueError("a value to erase contains a line break")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "values.txt"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        words = [os.fspath(model), f"--column={column}", f"--values={file}"]
        words += [f"--also={os.fspath(path)}" for path in also]
        words += ["--dry-run"] if dry_run else []
        found: dict[str, Any] = _core.forget(words, watcher(progress))
    return found
