"""CPU time of trainings by the command line and by Python, side by side.

    python tools/bench_python/overhead.py --ncs target/release/ncs [--rounds 3] [--epochs N] RUN.toml ...
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib

#: Settings of every training; a bootstrap would only add the same seconds to each.
SETTINGS: dict[str, int] = {"threads": 1, "evaluation.bootstrap": 0}

FILES = """
import ncs4cvr, sys
ncs4cvr.train(sys.argv[1], out=sys.argv[2], settings={settings!r}, progress=False)
"""

FRAMES = """
import ncs4cvr, polars, sys
frames = {{part: polars.read_parquet(paths) for part, paths in {parts!r}.items()}}
ncs4cvr.train(sys.argv[1], **frames, out=sys.argv[2], settings={settings!r}, progress=False)
"""


def commands(ncs: str, run: pathlib.Path) -> dict[str, list[str]]:
    """Returns the three ways of training, without the run's folder."""
    flags = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    found = {
        "command line": [ncs, "--quiet", "train", str(run), *flags, "--out"],
        "Python, files": [sys.executable, "-c", FILES.format(settings=SETTINGS), str(run)],
    }
    data = tomllib.loads(run.read_text(encoding="utf-8"))["data"]
    parts = {name: str(run.parent / data[name]) for name in ("train", "valid", "test") if isinstance(data.get(name), str)}
    if all(path.endswith(".parquet") for path in parts.values()):
        code = FRAMES.format(settings=SETTINGS, parts=parts)
        found["Python, data frames"] = [sys.executable, "-c", code, str(run)]
    return found


def cpu_seconds(command: list[str]) -> tuple[float, float]:
    """Runs a command; returns its CPU seconds, children included, and the seconds that passed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - began


def weights(folder: pathlib.Path) -> bytes:
    return (folder / "model" / "weights.safetensors").read_bytes()


def measure(ncs: str, run: pathlib.Path, rounds: int) -> None:
    ways = commands(ncs, run)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    models: dict[str, bytes] = {}
    for turn in range(rounds):
        # Each round in another order, so that no way is always the first.
        order = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for way in order:
            with tempfile.TemporaryDirectory() as folder:
                cpu, passed = cpu_seconds([*ways[way], os.path.join(folder, "out")])
                models[way] = weights(pathlib.Path(folder) / "out")
            seconds[way].append(cpu)
            print(f"{run.stem}: {way}: {cpu:.2f} s of CPU in {passed:.1f} s", file=sys.stderr)
    base = statistics.median(seconds["command line"])
    for way, found in seconds.items():
        middle = statistics.median(found)
        same = "yes" if models[way] == models["command line"] else "NO"
        range_ = f"{min(found):.2f} to {max(found):.2f}"
        print(f"| {run.stem} | {way} | {middle:.2f} | {range_} | {100 * (middle / base - 1):+.1f} % | {same} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ncs", required=True, help="the command line, built as the package was")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="shorter trainings: what Python adds weighs more")
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN.toml")
    asked = parser.parse_args()
    if asked.epochs:
        SETTINGS["training.epochs"] = asked.epochs
    print("| run | by | CPU seconds, median | range | beside the command line | same weights |\n|---|---|---|---|---|---|")
    for run in asked.runs:
        measure(asked.ncs, run.resolve(), asked.rounds)


if __name__ == "__main__":
    main()
