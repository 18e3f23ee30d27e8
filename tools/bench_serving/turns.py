"""Two builds of the server in turns, under the same load: what a change did to its latencies.

    python3 tools/bench_serving/turns.py --before OLD/ncs --after NEW/ncs --cost NEW/serving_cost

Prints medians of the rounds as a Markdown table: one caller, so the latency of a server that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from server import Server

CALLS = ("rank-json", "infer-http", "rank-grpc", "infer-grpc")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--cost", type=Path, required=True, help="the example serving_cost, built for release")
    parser.add_argument("--candidates", nargs="+", default=["1", "64", "500"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", default="2")
    args = parser.parse_args()
    found: dict[tuple[str, str, str], list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.cost, "model", "--out", folder], check=True, capture_output=True)
        for _ in range(args.rounds):
            for build in ("before", "after"):
                with Server(getattr(args, build), Path(folder) / "model", 1, None) as server:
                    for call in CALLS:
                        for n in args.candidates:
                            found.setdefault((call, n, build), []).append(
                                load(args.cost, server.address(call), call, n, args.seconds)
                            )
    print("| call | candidates | median before, µs | after | p99 before, µs | after |")
    print("| --- | --- | --- | --- | --- | --- |")
    for call in CALLS:
        for n in args.candidates:
            cells = [
                f"{statistics.median(record[field] for record in found[call, n, build]) * 1e3:,.0f}"
                for field in ("median_ms", "p99_ms")
                for build in ("before", "after")
            ]
            print(f"| {call} | {n} | {' | '.join(cells)} |")


def load(cost: Path, address: str, call: str, candidates: str, seconds: str) -> dict:
    """One load by one caller."""
    command = [cost, "load", "--to", address, "--wire", call, "--values", "integers", "--connections", "1"]
    command += ["--candidates", candidates, "--seconds", seconds]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
