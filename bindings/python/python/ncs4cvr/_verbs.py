"""Synthetic logs, comparisons, and a server."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from . import _core
from ._frames import Path
from ._html import table
from ._progress import watcher

#: Command that starts the command line: comparisons run each training as a separate process.
PROGRAM = [sys.executable, "-m", "ncs4cvr"]


class Log(NamedTuple):
    """Generated synthetic log."""

    #: Path of the run file.
    run_file: str
    #: Training, validation and test files.
    files: list[str]


def _flags(settings: dict[str, Any]) -> list[str]:
    """Converts keyword arguments to flags: ``--rows=1000``; a bare flag for True; nothing for None and False."""
    words: list[str] = []
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words.append(f"{flag}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return words


def synth(out: Path, *, progress: bool | None = None, **settings: Any) -> Log:
    """Generates a synthetic log with known probabilities, and a run file for it.

    Args:
        out: a folder that is new, empty, or written by an earlier call.
        settings: as the flags of ``ncs synth``: ``rows``, ``share``, ``conflict``, ``click_rate``,
            ``conversion_rate``, ``unseen``, ``days``, ``drift``, ``delays``, ``delay_window``, ``seed``, ``format``.
    """
    made = _core.synth([*_flags(settings), f"--out={os.fspath(out)}"], watcher(progress))
    return Log(run_file=made["run_file"], files=made["files"])


class Comparison:
    """Result of a comparison; its report is ``report.html`` in its folder."""

    def __init__(self, path: Path, found: dict[str, Any], failed: list[str]) -> None:
        self.path = pathlib.Path(path)
        #: Contents of ``comparison.json``.
        self.found = found
        #: Failed runs with their reasons.
        self.failed = failed

    @property
    def sentences(self) -> dict[str, list[str]]:
        """Conclusions for each data set."""
        return {data["name"]: list(data["sentences"]) for data in self.found["data"]}

    def __repr__(self) -> str:
        return f"Comparison({str(self.path)!r})"

    def _repr_html_(self) -> str:
        rows = [(name, sentence) for name, sentences in self.sentences.items() for sentence in sentences]
        return table(str(self.path / "report.html"), ["data", "verdict"], rows)


def compare(
    file: Path,
    *,
    out: Path,
    jobs: int | None = None,
    match: str | None = None,
    only_report: bool = False,
    scores: Path | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Compares methods on data sets over several seeds, as ``ncs compare``. Resumes an interrupted comparison."""
    flags = _flags({"out": out, "jobs": jobs, "match": match, "only_report": only_report, "scores": scores})
    found, failed = _core.compare([os.fspath(file), *flags], PROGRAM, watcher(progress))
    return Comparison(out, found, failed)


def serve(models: Path | Iterable[Path], **settings: Any) -> _core.Server:
    """Serves models over HTTP and gRPC from a thread of this process; returns once the server is ready.

    The server listens at ``server.http`` and ``server.grpc`` until ``server.stop()``, or until it is
    garbage-collected.

    Args:
        models: folders of models, or ``NAME=DIR``.
        settings: as the flags of ``ncs serve``, such as ``http_port=0`` for a free port (the default of all three
            ports here), ``threads=2``, ``lenient=True``.
    """
    names = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    ports = {"http_port": 0, "grpc_port": 0, "admin_port": 0}
    words = [os.fspath(name) for name in names]
    return _core.serve([*words, *_flags({**ports, **settings})])
