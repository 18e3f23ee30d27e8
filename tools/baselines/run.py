"""Trains the baselines and writes their probabilities of the test rows, which `ncs compare` reads as methods.

    python tools/baselines/run.py --data ebnerd --out DIR
    python tools/baselines/run.py --out DIR                  every data set of the comparison, every seed

Each model and seed is a file, DIR/DATA/METHOD-SEED.parquet; files that are there are kept, so that a run that
was stopped goes on. The last columns say what it took.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np

import boosting
import network
import plan
import rows
import scores
from figures import auc
from plan import ITEM_COLUMNS, RunFile
from rows import Parts

Predict = Callable[[RunFile, Parts, int], dict[str, np.ndarray]]

METHODS: dict[str, Predict] = {
    "lightgbm": lambda run, parts, seed: boosting.predict(run, parts, seed, True, False),
    "lightgbm_no_item": lambda run, parts, seed: boosting.predict(run, parts, seed, False, False),
    "lightgbm_past_rates": lambda run, parts, seed: boosting.predict(run, parts, seed, True, True),
    "pytorch": network.predict,
}


def main() -> None:
    """Trains what is not there yet."""
    args = arguments().parse_args()
    comparison = plan.read_comparison(args.compare)
    for name in args.data or comparison.data:
        for seed in args.seeds or comparison.seeds:
            train_all(comparison.data[name], seed, args)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets; default: all")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the files")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all that apply")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: those of the comparison")
    parser.add_argument(
        "--compare", type=Path, default=plan.COMPARISON, help="the comparison (default: %(default)s)"
    )
    parser.add_argument("--ncs", type=Path, default=plan.NCS, help="makes the synthetic logs")
    return parser


def train_all(data: plan.DataSet, seed: int, args: argparse.Namespace) -> None:
    """All methods of one data set and seed."""
    run = plan.run_file(data, seed, args.out / "logs", args.ncs)
    todo = {
        name: args.out / data.name / f"{name}-{seed}.parquet"
        for name in args.methods or METHODS
        if applies(name, run)
    }
    todo = {name: path for name, path in todo.items() if not path.exists()}
    if not todo:
        return
    start = time.process_time()
    parts = rows.read(run)
    reading = time.process_time() - start
    for name, path in todo.items():
        start = time.process_time()
        found = METHODS[name](run, parts, seed)
        seconds = reading + time.process_time() - start
        scores.write(path, parts.test, found, seed, seconds)
        tell(data.name, name, seed, parts, found, seconds)


def applies(method: str, run: RunFile) -> bool:
    """Without the item there must be something to leave out, and a model that is left."""
    items = {column.name for column in run.columns} & ITEM_COLUMNS
    return method != "lightgbm_no_item" or 0 < len(items) < len(run.columns)


def tell(data: str, method: str, seed: int, parts: Parts, found: dict, seconds: float) -> None:
    """A line on what came of a training."""
    areas = [f"{task} {auc(parts.test.labels[task], of_task):.4f}" for task, of_task in found.items()]
    print(f"{data} {method} seed {seed}: {', '.join(areas)}; {seconds:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    sys.exit(main())
