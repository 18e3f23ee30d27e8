"""Exceptions, with the location of the error as far as it is known."""

from __future__ import annotations


class NcsError(Exception):
    """Base class of all errors. The message states the problem, its location, and how to fix it.

    Attributes:
        file: the file, or the name of the data frame in messages.
        row: the row in the file, from 1.
        column: the column.
        problems: all errors in a run file, each with its line (from 1, or None) and its message.
    """

    file: str | None
    row: int | None
    column: str | None
    problems: list[tuple[int | None, str]]

    def __init__(
        self,
        text: str,
        *,
        file: str | None = None,
        row: int | None = None,
        column: str | None = None,
        problems: list[tuple[int | None, str]] | None = None,
    ) -> None:
        super().__init__(text)
        self.file = file
        self.row = row
        self.column = column
        self.problems = list(problems or [])

    def __reduce__(self) -> tuple[object, ...]:
        """Supports pickling with all attributes."""
        return (_again, (type(self), str(self), self.file, self.row, self.column, self.problems))


def _again(
    kind: type[NcsError],
    text: str,
    file: str | None,
    row: int | None,
    column: str | None,
    problems: list[tuple[int | None, str]],
) -> NcsError:
    return kind(text, file=file, row=row, column=column, problems=problems)


class DataError(NcsError):
    """Unreadable or unusable data: a file or frame, a row, a column."""


class ConfigError(NcsError, ValueError):
    """Invalid settings: unknown keys (with the nearest known one), values out of range, absent columns."""


class ModelError(NcsError):
    """Missing model, modified model, or a missing part of a model."""


class TrainingError(NcsError):
    """Training that cannot continue: other settings in the folder, unusable labels, a loss that is NaN."""


class ForkError(NcsError, RuntimeError):
    """Use in a process forked from one that had already used the package, where calls would wait forever."""
