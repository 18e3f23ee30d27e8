"""Memory of scoring a large Parquet file that is read as a stream of batches (Linux).

    python tools/bench_python/stream.py [--gigabytes 5] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import ncs4cvr
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a batch, and of a row group.
BATCH = 65_536

#: Scores the file in a process of its own, whose memory is its own.
SCORE = """
import json, sys, time
import ncs4cvr, pyarrow as pa, pyarrow.parquet as pq

def peak():
    # Not getrusage: its maximum includes the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

model = ncs4cvr.Model.load(sys.argv[1])
# With pre_buffer, the default, pyarrow keeps the compressed bytes of all row groups that it has read.
file = pq.ParquetFile(sys.argv[2], pre_buffer=False)
batches = file.iter_batches(batch_size=int(sys.argv[4]))
before, began = peak(), time.process_time()
if sys.argv[3] == "whole":
    reader = pa.RecordBatchReader.from_batches(file.schema_arrow, batches)
    scores = model.predict(reader, threads=1)
    rows, total = len(scores), float(scores["ctr"].sum())
else:
    rows, total = 0, 0.0
    for batch in batches:
        scores = model.predict(batch, threads=1)
        rows, total = rows + len(scores), total + float(scores["ctr"].sum())
print(json.dumps({"before": before, "peak": peak(), "rows": rows, "mean": total / rows, "cpu": time.process_time() - began}))
"""


def wide(rows: pa.Table) -> pa.Table:
    """Adds columns that no feature reads, as logs have them: addresses of pages, user agents."""
    chance = np.random.default_rng(1)
    for place in range(6):
        texts = np.array([f"https://example.org/{place}/{chance.integers(1 << 60):x}/{i:08d}" for i in range(500)])
        rows = rows.append_column(f"text_{place}", pa.array(texts[chance.integers(0, 500, rows.num_rows)]))
    return rows


def write(path: pathlib.Path, rows: pa.Table, size: float) -> tuple[int, int]:
    """Writes row groups until their Arrow arrays would take ``size`` bytes; returns rows and bytes."""
    n_bytes = n_rows = 0
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        while n_bytes < size:
            writer.write_table(rows)
            n_bytes, n_rows = n_bytes + rows.nbytes, n_rows + rows.num_rows
    return n_rows, n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="size of the rows in memory, if they were read at once")
    parser.add_argument("--folder", help="where the file is written, and deleted")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = pathlib.Path(name)
        log = ncs4cvr.synth(folder / "log", rows=110_000, progress=False)
        settings = {"training.epochs": 1, "evaluation.bootstrap": 0, "threads": 1}
        ncs4cvr.train(log.run_file, out=folder / "out", settings=settings, progress=False)
        rows = wide(pq.read_table(log.files[0]).slice(0, BATCH))
        file = folder / "rows.parquet"
        n_rows, n_bytes = write(file, rows, asked.gigabytes * 1e9)
        print(f"{n_rows:,} rows, {n_bytes / 1e9:.2f} GB in memory, {file.stat().st_size / 1e9:.2f} GB on disk", flush=True)
        print("| scored | rows | memory before | at most | CPU seconds |\n|---|---|---|---|---|")
        for how, title in [("batches", "batch by batch"), ("whole", "a reader of all batches")]:
            words = [sys.executable, "-c", SCORE, str(folder / "out"), str(file), how, str(BATCH)]
            found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            assert found["rows"] == n_rows
            before, peak = (f"{found[key] / 1e6:.0f} MB" for key in ("before", "peak"))
            print(f"| {title} | {found['rows']:,} | {before} | {peak} | {found['cpu']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
