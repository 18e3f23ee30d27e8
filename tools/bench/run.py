"""Runs ours and the peers side by side, in one sitting, and writes the tables and the picture.

    python3 tools/bench/run.py --quick           two minutes; prints the tables
    python3 tools/bench/run.py --docs            a quarter of an hour; writes docs/performance.*
    python3 tools/bench/run.py --redraw --docs   from the results of an earlier run

Ours and the peer run by turns (ours, peer, ours, peer ...), so that noise of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import growth
import machine
import tables
from figures import Record, Results
from plan import Point, points

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = "cargo build --release -p ncs-train --example cost"
OURS = "cargo run --release --quiet -p ncs-train --example cost --"
COMMAND = "python3 tools/bench/run.py --docs"


def main() -> None:
    """Measures (or reads what was measured), writes, prints."""
    args = arguments().parse_args()
    out = args.out or default_out(args.quick)
    if not args.redraw:
        measure(args, out)
    sitting = json.loads(out.read_text())
    report(Results(sitting["points"]), sitting["machine"], args.docs)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few samples, few points")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md and .svg")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    parser.add_argument("--repetitions", type=int, help="default: 3, quick 1")
    parser.add_argument("--ours", default=OURS, help="our program (default: %(default)s)")
    parser.add_argument("--no-ours", action="store_true", help="the peers only")
    parser.add_argument("--no-peers", action="store_true", help="ours only")
    parser.add_argument("--only", default="", help="only points whose name begins so")
    parser.add_argument("--out", type=Path, help="default: results.json here; quick: in target")
    return parser


def default_out(quick: bool) -> Path:
    """A quick run does not replace the results that the documents are made of."""
    return ROOT / "target" / "bench" / "quick.json" if quick else HERE / "results.json"


# ---- measuring


def measure(args: argparse.Namespace, out: Path) -> None:
    """Runs all points; the results are saved after each, in case the sitting ends early."""
    programs = built_programs(args)
    sitting = {"machine": described_machine(programs), "points": {}}
    todo = [point for point in points(args.quick) if point.name.startswith(args.only)]
    out.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    repetitions = args.repetitions or (1 if args.quick else 3)
    sitting["machine"]["repetitions"] = str(repetitions)
    for repetition in range(repetitions):
        for point in todo:
            if point.is_exact and repetition > 0:
                continue
            found = sitting["points"].setdefault(point.name, {"ours": [], "peer": []})
            for who in programs:
                found[who] += run_point(point, who, programs[who])
            out.write_text(json.dumps(sitting, indent=1) + "\n")
            say(f"{repetition + 1}/{repetitions} {point.name}: {time.monotonic() - start:.0f} s")


def built_programs(args: argparse.Namespace) -> dict[str, list[str]]:
    """The commands of those that run, ours built."""
    programs: dict[str, list[str]] = {}
    if not args.no_ours:
        if args.ours == OURS:
            subprocess.run(shlex.split(BUILD), cwd=ROOT, check=True)
        programs["ours"] = shlex.split(args.ours)
    if not args.no_peers:
        programs["peer"] = [sys.executable, str(HERE / "peers.py")]
    return programs


def described_machine(programs: dict[str, list[str]]) -> dict[str, str]:
    """The machine, and the peers' versions where they run."""
    described = machine.describe()
    if "peer" in programs:
        described |= records_of(programs["peer"] + ["versions"])[0]
    return described


def run_point(point: Point, who: str, program: list[str]) -> list[Record]:
    """The records of one call; none, and a word on standard error, where there can be none."""
    if not (point.has_peer if who == "peer" else point.has_ours):
        return []
    if who == "peer" and machine.memory_kb("MemAvailable") / 1e6 < point.peer_memory_gb:
        say(f"{point.name}: left out, the peer needs {point.peer_memory_gb:.0f} GB of memory")
        return []
    try:
        return records_of(program + list(point.arguments))
    except (OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
        say(f"{point.name}: {who} gave no figures: {error}")
        say((getattr(error, "stderr", "") or "").strip()[-600:])
        return []


def records_of(command: list[str]) -> list[Record]:
    """One JSON object a line."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# ---- reporting


def report(results: Results, described: dict[str, str], docs: bool) -> None:
    """Prints the tables; writes them and the picture where the documents are wanted."""
    blocks = {
        "machine": tables.machine_lines(results, described, COMMAND),
        "targets": tables.targets_table(results, described),
        "step": tables.step_table(results, described),
        "variants": tables.variants_table(results, described),
        "score": tables.score_table(results, described),
        "growth": tables.growth_table(results, described),
    }
    print("\n\n".join(blocks.values()))
    if docs:
        document = ROOT / "docs" / "performance.md"
        text = document.read_text()
        for name, body in blocks.items():
            text = tables.replace_block(text, name, body)
        document.write_text(text)
        document.with_suffix(".svg").write_text(growth.draw(results, described))


def say(words: str) -> None:
    """How far it is."""
    if words:
        print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
