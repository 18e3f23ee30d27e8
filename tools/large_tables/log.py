"""Writes a log whose one column of ids fills a large table: rows with lists of random numbers, and clicks.

    python3 tools/large_tables/log.py FOLDER --rows 2000000 --ids 80

docs/large_tables.md and docs/distributed.md use it. Needs numpy and pyarrow.
"""

import argparse
import pathlib

import numpy
import pyarrow
import pyarrow.parquet

RUN = """seed = 1
threads = 1

[data]
train = "train.parquet"
valid = "valid.parquet"

[columns]
ids = {{ kind = "list", buckets = {buckets} }}
hour = "categorical"

[tasks.ctr]
label = "click"

[network]
kind = "shared_bottom"
dim = 16
hidden = [64]

[training]
epochs = 1
keep = "last"
batch = 4096
table_optimizer = "rowwise_adagrad"
id_dropout = "none"
embedding_evidence = "none"
"""


def table(rng: numpy.random.Generator, rows: int, ids: int) -> pyarrow.Table:
    """Returns rows with lists of uniform numbers, and clicks that depend on the hour."""
    numbers = rng.integers(0, 2**31, rows * ids, dtype=numpy.int32)
    offsets = numpy.arange(0, rows * ids + 1, ids, dtype=numpy.int32)
    hours = rng.integers(0, 24, rows)
    clicks = rng.random(rows) < 0.05 + 0.01 * hours
    return pyarrow.table(
        {
            "ids": pyarrow.ListArray.from_arrays(offsets, numbers),
            "hour": hours,
            "click": clicks.astype(numpy.int8),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--ids", type=int, default=80)
    parser.add_argument("--buckets", type=int, default=160_000_000)
    arguments = parser.parse_args()
    rng = numpy.random.default_rng(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    # In parts, so that the writer needs little memory.
    part = 100_000
    for name, rows in [("train", arguments.rows), ("valid", 5_000)]:
        writer = None
        for first in range(0, rows, part):
            rows_of_part = table(rng, min(part, rows - first), arguments.ids)
            path = arguments.folder / f"{name}.parquet"
            writer = writer or pyarrow.parquet.ParquetWriter(path, rows_of_part.schema, use_dictionary=False)
            writer.write_table(rows_of_part)
        writer.close()
    (arguments.folder / "run.toml").write_text(RUN.format(buckets=arguments.buckets))


if __name__ == "__main__":
    main()
