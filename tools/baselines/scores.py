"""Score files as `ncs compare` reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rows import Rows


def write(
    path: Path, test: Rows, found: dict[str, np.ndarray], seed: int, cpu_seconds: float
) -> None:
    """One line for each test row, in their order: `p_TASK`, and beside it what proves that it is the right
    row and run. Written beside and renamed, so that a file under its name is whole."""
    columns = {"row": np.arange(len(test))}
    for task, probabilities in found.items():
        columns[f"p_{task}"] = probabilities.astype(np.float32)
        labels = pd.Series(test.labels[task].astype(np.float32))
        columns[f"y_{task}"] = pa.array(labels, from_pandas=True)
    columns["seed"] = np.full(len(test), seed, dtype=np.int64)
    columns["cpu_seconds"] = np.full(len(test), cpu_seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(pa.table(columns), unfinished)
    unfinished.rename(path)
