"""LightGBM: one model for each task, on the rows where the task counts."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd

import features
from features import PastRates, Vocabulary
from plan import ITEM_COLUMNS, RunFile
from rows import Parts, Rows

MAX_ROUNDS = 3000
PATIENCE = 100
SETTINGS = {
    "objective": "binary",
    "metric": "auc",
    "learning_rate": 0.02,
    "num_leaves": 63,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "cat_smooth": 20,
    "max_cat_threshold": 64,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
    "force_col_wise": True,
}


class Matrix:
    """Rows as LightGBM wants them; fitted to the training rows."""

    def __init__(self, run: RunFile, parts: Parts, without: set[str], past_rates: bool, seed: int):
        self.columns = [column for column in run.columns if column.name not in without]
        self.tasks = [task.name for task in run.tasks]
        self.vocabularies = {
            column.name: vocabulary(column.kind, parts.train.columns[column.name])
            for column in self.columns
            if column.kind != "numeric"
        }
        is_many = lambda column: len(self.vocabularies[column.name]) > features.MANY_VALUES
        ids = [column for column in self.columns if column.kind == "categorical"]
        self.many = [column.name for column in ids if past_rates and is_many(column)]
        self.few = [column.name for column in ids if column.name not in self.many]
        self.rates = self.past_rates_after(parts.train)
        self.train = self.assemble(parts.train, self.rates_before(parts.train, seed))
        self.valid = self.assemble(parts.valid, self.rates_later(parts.valid, self.rates))

    def ids(self, part: Rows, name: str) -> np.ndarray:
        """The ids of a column."""
        return self.vocabularies[name].encode(part.columns[name])

    def past_rates_after(self, part: Rows) -> dict[tuple[str, str], PastRates]:
        """What rows after `part` know of each column with many values and each task."""
        return {
            (name, task): PastRates.of(
                self.ids(part, name), part.labels[task], len(self.vocabularies[name])
            )
            for name in self.many
            for task in self.tasks
        }

    def rates_before(self, part: Rows, seed: int) -> list[np.ndarray]:
        """What each training row knows of the rows before it."""
        moments = features.order_of_learning(part, seed)
        found = []
        for name, task in self.rates:
            state = self.rates[name, task]
            past = features.earlier(self.ids(part, name), part.labels[task], moments)
            found.append(state.columns(*past))
        return found

    def rates_later(self, part: Rows, rates: dict) -> list[np.ndarray]:
        """What rows know that come after all those behind `rates`."""
        return [state.later(self.ids(part, name)) for (name, _), state in rates.items()]

    def assemble(self, part: Rows, past: list[np.ndarray]) -> np.ndarray:
        """Categories first, then numbers, lists and statistics."""
        categories = [self.ids(part, name)[:, None] for name in self.few]
        numbers = [
            part.columns[column.name].to_numpy()[:, None]
            for column in self.columns
            if column.kind == "numeric"
        ]
        lists = [
            features.list_columns(self.vocabularies[column.name], part.columns[column.name])
            for column in self.columns
            if column.kind == "list"
        ]
        return np.concatenate(categories + numbers + lists + past, axis=1).astype(np.float32)

    def data_set(self, matrix: np.ndarray, labels: np.ndarray) -> lightgbm.Dataset:
        """The rows whose label is known."""
        known = ~np.isnan(labels)
        categories = list(range(len(self.few)))
        return lightgbm.Dataset(matrix[known], labels[known], categorical_feature=categories)


def vocabulary(kind: str, values) -> Vocabulary:
    """The values of a column, or of the lists of one."""
    return Vocabulary.of(features.flat(values) if kind == "list" else values)


def predict(
    run: RunFile, parts: Parts, seed: int, with_item: bool, past_rates: bool
) -> dict[str, np.ndarray]:
    """Probabilities of every task for the test rows: the number of rounds is chosen on validation, then all
    rows train so many, as is usual."""
    without = set() if with_item else ITEM_COLUMNS
    matrix = Matrix(run, parts, without, past_rates, seed)
    rounds = {task.name: best_rounds(matrix, parts, task.name, seed) for task in run.tasks}
    everything = joined(parts)
    matrix = Matrix(run, everything, without, past_rates, seed)
    test = matrix.assemble(parts.test, matrix.rates_later(parts.test, matrix.rates))
    more = len(everything.train) / len(parts.train)
    found = {}
    for task, n_rounds in rounds.items():
        train = matrix.data_set(matrix.train, everything.train.labels[task])
        model = lightgbm.train(SETTINGS | {"seed": seed}, train, round(n_rounds * more))
        found[task] = model.predict(test, num_threads=1)
    return found


def best_rounds(matrix: Matrix, parts: Parts, task: str, seed: int) -> int:
    """How long a task learns until validation gets no better."""
    train = matrix.data_set(matrix.train, parts.train.labels[task])
    valid = matrix.data_set(matrix.valid, parts.valid.labels[task])
    patience = lightgbm.early_stopping(PATIENCE, verbose=False)
    model = lightgbm.train(
        SETTINGS | {"seed": seed}, train, MAX_ROUNDS, valid_sets=[valid], callbacks=[patience]
    )
    return model.best_iteration


def joined(parts: Parts) -> Parts:
    """Validation rows behind the training rows."""
    train, valid = parts.train, parts.valid
    columns = {
        name: pd.concat([values, valid.columns[name]], ignore_index=True)
        for name, values in train.columns.items()
    }
    labels = {
        task: np.concatenate([values, valid.labels[task]]) for task, values in train.labels.items()
    }
    times = None if train.times is None else np.concatenate([train.times, valid.times])
    return Parts(Rows(columns, labels, times), valid, parts.test)
