"""Exceptions. Each carries where the fault is, as far as that is known."""

from __future__ import annotations


class NcsError(Exception):
    """Something that cannot be done: the text says what is wrong, where, and what to do.

    Attributes:
        file: the file, or what messages call the data frame.
        row: the row in it, from 1.
        column: the column.
        problems: of a run file, each thing that is wrong: its line, from 1, or None, and what it is.
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
        """Survives the way between processes with all that it carries."""
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
    """Rows that cannot be read or used: a file or frame, a row, a column."""


class ConfigError(NcsError, ValueError):
    """Settings that are wrong: unknown keys with the nearest known one, values out of range, absent columns."""


class ModelError(NcsError):
    """No model, one that was changed, or a part of it that is not there."""


class TrainingError(NcsError):
    """A training that cannot go on: other settings in the folder, labels that cannot teach, a loss that is no number."""


class ForkError(NcsError, RuntimeError):
    """Use in a process that was forked from one that had used the package: it would wait for ever."""
