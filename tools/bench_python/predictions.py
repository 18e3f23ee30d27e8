"""Memory of a process that scores many times.

    python tools/bench_python/predictions.py [--calls 1000]
"""

from __future__ import annotations

import argparse
import gc
import pathlib
import resource
import tempfile

import ncs4cvr
import polars


def resident() -> int:
    """Bytes in memory now (Linux)."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = ncs4cvr.synth(pathlib.Path(folder) / "log", rows=20_000, progress=False)
        settings = {"training.epochs": 1, "evaluation.bootstrap": 0, "threads": 1}
        model = ncs4cvr.train(log.run_file, out=pathlib.Path(folder) / "out", settings=settings, progress=False).model
        rows = polars.read_parquet(log.files[2]).head(1000)
    print("| calls of 1,000 rows | memory |\n|---|---|")
    for call in range(asked.calls + 1):
        if call % (asked.calls // 5) == 0:
            gc.collect()
            print(f"| {call:,} | {resident() / 1e6:.1f} MB |", flush=True)
        model.predict(rows, threads=1)


if __name__ == "__main__":
    main()
