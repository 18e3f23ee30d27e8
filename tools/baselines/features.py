"""Features of the baselines: ids by the values of the training rows, lists, numbers, statistics of past labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rows import Rows

# Values of a list that trees get a column each for.
LIST_VALUES = 32
# Columns with more values than this get statistics of past labels in place of a category.
MANY_VALUES = 100
# Statistics count as if so many rows at the task's rate had been seen before.
PRIOR_ROWS = 20.0


@dataclass
class Vocabulary:
    """The values of the training rows, most frequent first. Id 0 is missing or unknown."""

    ids: dict

    @staticmethod
    def of(values: pd.Series) -> Vocabulary:
        """The vocabulary of a column, or of the values of its lists."""
        return Vocabulary({value: at + 1 for at, value in enumerate(values.value_counts().index)})

    def __len__(self) -> int:
        return len(self.ids) + 1

    def encode(self, values: pd.Series) -> np.ndarray:
        """The id of each value."""
        return values.map(self.ids).fillna(0).to_numpy(dtype=np.int64)


def flat(lists: pd.Series) -> pd.Series:
    """The values of all lists, one after the other."""
    filled = [np.asarray(values) for values in lists if values is not None and len(values)]
    return pd.Series(np.concatenate(filled) if filled else [], dtype=None if filled else object)


def lengths(lists: pd.Series) -> np.ndarray:
    """The number of values of each list."""
    return np.array([0 if values is None else len(values) for values in lists], dtype=np.int64)


def list_columns(vocabulary: Vocabulary, lists: pd.Series) -> np.ndarray:
    """For trees: the length of each list, and whether it holds each of the most frequent values."""
    n_values = min(LIST_VALUES, len(vocabulary) - 1)
    found = np.zeros((len(lists), n_values + 1), dtype=np.float32)
    n_items = lengths(lists)
    found[:, 0] = n_items
    ids = vocabulary.encode(flat(lists))
    row_of = np.repeat(np.arange(len(lists)), n_items)
    is_shown = (ids >= 1) & (ids <= n_values)
    found[row_of[is_shown], ids[is_shown]] = 1
    return found


# ---- statistics of past labels


@dataclass
class PastRates:
    """Ordered target statistics (Prokhorenkova et al. 2018) of a column and a task: for each row the smoothed
    rate of the label among strictly earlier training rows of the same value, and their number."""

    rate: float
    positives: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(ids: np.ndarray, labels: np.ndarray, n_ids: int) -> PastRates:
        """The state after all training rows: what a later row sees."""
        known = ~np.isnan(labels)
        add = lambda weights: np.bincount(ids[known], weights=weights, minlength=n_ids)
        return PastRates(float(labels[known].mean()), add(labels[known]), add(None).astype(float))

    def later(self, ids: np.ndarray) -> np.ndarray:
        """Rate and count for rows that come after all training rows."""
        return self.columns(self.positives[ids], self.counts[ids])

    def columns(self, positives: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Smoothed rate and logarithm of the count."""
        rate = (positives + PRIOR_ROWS * self.rate) / (counts + PRIOR_ROWS)
        return np.stack([rate, np.log1p(counts)], axis=1).astype(np.float32)


def earlier(ids: np.ndarray, labels: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row: positives and known labels of rows with the same id and a strictly smaller moment. Rows of
    one moment, such as those of one page, do not see each other."""
    known = ~np.isnan(labels)
    order = np.lexsort((moments, ids))
    sorted_ids, sorted_moments = ids[order], moments[order]
    before = lambda values: np.concatenate([[0.0], np.cumsum(values[order])[:-1]])
    starts_id = np.concatenate([[True], sorted_ids[1:] != sorted_ids[:-1]])
    starts_moment = starts_id | np.concatenate([[True], sorted_moments[1:] != sorted_moments[:-1]])

    def since_start_of_id(values: np.ndarray) -> np.ndarray:
        sums = before(values)
        at_id = np.maximum.accumulate(np.where(starts_id, np.arange(len(ids)), 0))
        at_moment = np.maximum.accumulate(np.where(starts_moment, np.arange(len(ids)), 0))
        found = np.empty(len(ids))
        found[order] = sums[at_moment] - sums[at_id]
        return found

    positives = np.where(known, labels, 0.0)
    return since_start_of_id(positives), since_start_of_id(known.astype(float))


def order_of_learning(part: Rows, seed: int) -> np.ndarray:
    """The moments of training rows: their times, or where there are none a random order."""
    if part.times is not None:
        return part.times
    return np.random.default_rng(seed).permutation(len(part)).astype(float)
