"""Rows of a run file: read, and divided into training, validation and test exactly as `ncs` does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xxhash

from plan import Column, RunFile, Task

# Without a validation part in the run file: the last tenth of the training rows, in the order of the files.
VALID_SHARE = 0.1


@dataclass
class Rows:
    """Rows of one part: columns by feature name, and labels by task (NaN: unknown or not counted)."""

    columns: dict[str, pd.Series]
    labels: dict[str, np.ndarray]
    # Moments of the rows where the run file splits by time, for statistics of strictly earlier rows.
    times: np.ndarray | None

    def __len__(self) -> int:
        return len(next(iter(self.labels.values())))


@dataclass
class Parts:
    """The three parts of a data set."""

    train: Rows
    valid: Rows
    test: Rows


def read(run: RunFile) -> Parts:
    """Reads all parts of a run file."""
    table = frame(run, "train")
    at_test, at_valid = divided(run, table)
    test = [table[at_test]] + ([frame(run, "test")] if run.files("test") else [])
    valid = [table[at_valid]] + ([frame(run, "valid")] if run.files("valid") else [])
    parts = Parts(
        rows(run, table[~at_valid & ~at_test]),
        rows(run, pd.concat(valid, ignore_index=True)),
        rows(run, pd.concat(test, ignore_index=True)),
    )
    if len(parts.test) == 0:
        raise ValueError(f"{run.path}: no test rows; state data.test or a split with a test share")
    return parts


def frame(run: RunFile, part: str) -> pd.DataFrame:
    """The columns that a run file names, as the files hold them."""
    split = run.data.get("split", {}).get("column")
    wanted = {column.source for column in run.columns} | {task.label for task in run.tasks}
    wanted |= {split} if split else set()
    read_one = lambda path: one_file(path, sorted(wanted))
    return pd.concat([read_one(path) for path in run.files(part)], ignore_index=True)


def one_file(path, wanted: list[str]) -> pd.DataFrame:
    """Parquet by its types; CSV as texts, since a code is a category whatever it looks like."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path, columns=wanted)
    return pd.read_csv(path, usecols=wanted, dtype=str, keep_default_na=False)


def rows(run: RunFile, table: pd.DataFrame) -> Rows:
    """Columns by feature, labels by task."""
    table = table.reset_index(drop=True)
    columns = {column.name: values(column, table[column.source]) for column in run.columns}
    split = run.data.get("split", {})
    times = number(table[split["column"]]) if split.get("by") == "time" else None
    return Rows(columns, labels(run.tasks, table), times)


def values(column: Column, series: pd.Series) -> pd.Series:
    """Numbers as floats, ids as they are; the empty text is missing."""
    if column.kind == "numeric":
        return pd.Series(number(series))
    if column.kind == "list" and column.separator:
        return series.map(lambda text: text.split(column.separator) if text else [])
    return series if column.kind == "list" else series.replace("", np.nan)


def number(series: pd.Series) -> np.ndarray:
    """A column as 64-bit floats; moments as microseconds since 1970."""
    if series.dtype.kind == "M":
        return series.astype("datetime64[us]").astype("int64").to_numpy(dtype=float)
    return pd.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def labels(tasks: tuple[Task, ...], table: pd.DataFrame) -> dict[str, np.ndarray]:
    """A task's label where it counts, NaN elsewhere."""
    found = {task.name: number(table[task.label]) for task in tasks}
    for task in tasks:
        if task.where:
            found[task.name] = np.where(found[task.where] == 1, found[task.name], np.nan)
    return found


# ---- the split


def divided(run: RunFile, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of the training files are test, and which are validation."""
    split = run.data.get("split")
    n_rows = len(table)
    none = np.zeros(n_rows, dtype=bool)
    if split is None:
        first = n_rows if run.files("valid") else int(n_rows * (1 - VALID_SHARE))
        return none, np.arange(n_rows) >= first
    if split["by"] == "time":
        times = number(table[split["column"]])
        if "valid_from" not in split:
            split = split | latest(times, split.get("valid", VALID_SHARE), split.get("test", 0.0))
        test = times >= split["test_from"] if "test_from" in split else none
        return test, (times >= split["valid_from"]) & ~test
    at = places(split, table)
    valid, test = split["valid"], split.get("test", 0.0)
    return (at >= valid) & (at < valid + test), at < valid


def latest(times: np.ndarray, valid: float, test: float) -> dict[str, float]:
    """Where the latest shares of the rows begin: crates/readers/src/split/latest.rs has the rule."""
    different, counts = np.unique(times, return_counts=True)
    rows_from = np.cumsum(counts[::-1])[::-1]

    def boundary(share: float) -> float:
        return different[1:][np.argmin(np.abs(rows_from[1:] - share * len(times)))]

    found = {"valid_from": boundary(valid + test)}
    return found | ({"test_from": boundary(test)} if test > 0 else {})


def places(split: dict, table: pd.DataFrame) -> np.ndarray:
    """The place of each row in [0, 1): XXH3 of the row's number, or of the text of its value."""
    seed = split.get("seed", 1)
    numbers = (row.to_bytes(8, "little") for row in range(len(table)))
    if split["by"] == "row":
        names = numbers
    else:
        texts = table[split["column"]]
        is_missing = texts.isna() | (texts == "")
        names = (
            number if missing else str(value).encode()
            for number, value, missing in zip(numbers, texts, is_missing)
        )
    place = lambda name: (xxhash.xxh3_64_intdigest(name, seed) >> 11) / 2.0**53
    return np.fromiter(map(place, names), dtype=float, count=len(table))
