"""The workload of the paper's size, as numbers: ids, clicks, conversions, masks.

20 fields of dimension 16, 15 with one id a row and 5 with lists of 6, all in one table; the full Gram
matrix of the 20 vectors and the vectors themselves are 720 inputs of three layers, 512-256-128. One
row in ten is a click, one click in five converts. `crates/train/examples/cost.rs` makes the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_SINGLE = 15
N_LISTS = 5
N_FIELDS = N_SINGLE + N_LISTS
LIST_LENGTH = 6
DIM = 16
N_INPUTS = N_FIELDS * N_FIELDS + N_FIELDS * DIM
HIDDEN = (512, 256, 128)

# Steps go through so many batches in turn, so that no table row is in cache for free.
N_BATCHES = 8

# In scoring, these fields are the user's and the same for every candidate: 5 single ones, all lists.
N_USER_SINGLE = 5


@dataclass(frozen=True)
class Size:
    """What can be larger or smaller than in the paper."""

    batch: int = 4096
    width: int = 1
    table_rows: int = 10_000_000

    def layer_shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each hidden layer."""
        units = [N_INPUTS, *(hidden * self.width for hidden in HIDDEN)]
        return list(zip(units, units[1:]))


def zipf_ids(shape: tuple[int, ...], table_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Ids whose ranks fall off as Zipf's law has it, scattered over the table."""
    rank = np.power(float(table_rows), rng.random(shape)).astype(np.uint64) - np.uint64(1)
    return (rank * np.uint64(2_654_435_761) % np.uint64(table_rows)).astype(np.int64)


def batch_ids(size: Size, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Batch `number`: ids of the single fields [rows, 15] and of the lists [rows, 5, 6]."""
    rng = np.random.default_rng(number)
    single = zipf_ids((size.batch, N_SINGLE), size.table_rows, rng)
    lists = zipf_ids((size.batch, N_LISTS, LIST_LENGTH), size.table_rows, rng)
    return single, lists


def request_ids(candidates: int, table_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """One user and some candidates: the user's ids are repeated in every row."""
    single, lists = batch_ids(Size(batch=candidates, table_rows=table_rows), 0)
    single[:, :N_USER_SINGLE] = single[0, :N_USER_SINGLE]
    lists[:] = lists[0]
    return single, lists


def clicked(rows: int) -> np.ndarray:
    """Whether each row is a click: one in ten."""
    return np.arange(rows) % 10 == 3


def converted(rows: int) -> np.ndarray:
    """Whether each row converts: one click in five."""
    return np.arange(rows) % 50 == 3


def level_densities(density: float, rounds: int) -> list[float]:
    """Density of each level of a search of equal rounds, the whole network first."""
    return [density ** (level / rounds) for level in range(rounds + 1)]
