"""Runs our scorer, ONNX Runtime and our server side by side, in one sitting, and writes the tables.

    python3 tools/bench_serving/run.py --quick           three minutes; prints the tables
    python3 tools/bench_serving/run.py --docs            half an hour; writes docs/performance_serving.md
    python3 tools/bench_serving/run.py --redraw --docs   from the results of an earlier run

Ours and the peer run by turns, so that noise of the machine hits both.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Figures, tables and the machine are read there as here.
BENCH = HERE.parent / "bench"
sys.path.append(str(BENCH))

import machine  # noqa: E402
import points  # noqa: E402
import serving_tables  # noqa: E402
from server import Server, on_core  # noqa: E402
from tables import replace_block  # noqa: E402

BUILDS = (
    "cargo build --release --bin ncs",
    "cargo build --release -p ncs-serve --example serving_cost",
)
COMMAND = "python3 tools/bench_serving/run.py --docs"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NCS = TARGET / "release" / "ncs"
OURS = TARGET / "release" / "examples" / "serving_cost"
FOLDER = TARGET / "bench_serving"
# Where both are pinned.
SERVER_CORE, CALLER_CORE = 0, 1


def main() -> None:
    """Measures (or reads what was measured), writes, prints."""
    args = arguments().parse_args()
    out = args.out or default_out(args.quick)
    if not args.redraw:
        Sitting(args, out).measure()
    sitting = json.loads(out.read_text())
    report(sitting["records"], sitting["machine"], args.docs)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a second a point, once")
    parser.add_argument("--docs", action="store_true", help="write docs/performance_serving.md")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    parser.add_argument("--repetitions", type=int, help="default: 3, quick 1")
    parser.add_argument("--seconds", type=float, help="of each point; default: 5, quick 1")
    parser.add_argument("--open-seconds", type=float, help="of each open loop; default: 60, quick 5")
    parser.add_argument("--no-build", action="store_true", help="take the programs as they are")
    parser.add_argument("--no-peers", action="store_true", help="ours only")
    parser.add_argument("--no-servers", action="store_true", help="scorers only")
    parser.add_argument("--out", type=Path, help="default: results.json here; quick: in target")
    return parser


def default_out(quick: bool) -> Path:
    """A quick run does not replace the results that the document is made of."""
    return FOLDER / "quick.json" if quick else HERE / "results.json"


# ---- measuring


class Sitting:
    """One run over all points; the results are saved after each, in case it ends early."""

    def __init__(self, args: argparse.Namespace, out: Path) -> None:
        self.args = args
        self.out = out
        self.seconds = args.seconds or (1 if args.quick else 5)
        self.open_seconds = args.open_seconds or (5 if args.quick else 60)
        self.repetitions = args.repetitions or (1 if args.quick else 3)
        self.records: list[dict] = []
        self.start = time.monotonic()

    def measure(self) -> None:
        """Everything."""
        prepare(build=not self.args.no_build)
        self.machine = machine.describe()
        self.machine |= {"date": str(datetime.date.today()), "load_before": load_average()}
        if not self.args.no_peers:
            self.machine |= record_of(peer("versions"))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        for repetition in range(self.repetitions):
            self.say(f"repetition {repetition + 1} of {self.repetitions}")
            self.all_scorings()
            if not self.args.no_servers:
                for serving in points.servings(can_pin()):
                    self.all_loads(serving)
                self.open_loops()
        self.save()

    def all_scorings(self) -> None:
        """Without a server."""
        for scoring in points.scorings():
            if scoring.engine == "ours" or not self.args.no_peers:
                self.keep(scoring_command(scoring, self.seconds), engine=scoring.engine)

    def all_loads(self, serving: points.Serving) -> None:
        """One server, each kind of caller."""
        with started(serving) as server:
            for load in points.loads(serving):
                words = load_command(server, load.wire, load.values, load.connections, self.seconds)
                command = on_core(words, CALLER_CORE if serving.pinned else None)
                self.keep(command, threads=serving.threads, pinned=serving.pinned)

    def open_loops(self) -> None:
        """Half of what the server could, at times that do not wait for answers."""
        serving = points.Serving(2, pinned=False)
        for wire in points.OPEN_WIRES:
            rate = half_capacity(self.records, serving, wire)
            with started(serving) as server:
                form, connections = points.OPEN_FORM, points.OPEN_CONNECTIONS
                words = load_command(server, wire, form, connections, self.open_seconds)
                words += ["--rate", f"{rate:.1f}"]
                self.keep(words, threads=serving.threads, pinned=serving.pinned)

    def keep(self, command: list[str], **facts: object) -> None:
        """Runs it, and saves what it found together with its description."""
        record = record_of(command) | facts
        self.records.append(record)
        self.save()
        words = [str(v) for v in (record.get("wire"), record["values"], *facts.values()) if v is not None]
        self.say(f"{' '.join(words)}: {record['median_ms']:.2f} ms, {record['per_s']:.0f}/s")

    def save(self) -> None:
        """As JSON."""
        self.machine["load_after"] = load_average()
        sitting = {"machine": self.machine, "records": self.records}
        self.out.write_text(json.dumps(sitting, indent=1) + "\n")

    def say(self, words: str) -> None:
        """How far it is."""
        print(f"{time.monotonic() - self.start:5.0f} s  {words}", file=sys.stderr, flush=True)


def prepare(build: bool) -> None:
    """The programs and the model."""
    for command in BUILDS if build else ():
        subprocess.run(command.split(), cwd=ROOT, check=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    record_of([str(OURS), "model", "--out", str(FOLDER)])


def scoring_command(scoring: points.Scoring, seconds: float) -> list[str]:
    """Our scorer, or the peer."""
    if scoring.engine == "ours":
        words = [str(OURS), "score", "--model", str(FOLDER / "model"), "--values", scoring.values]
        return words + ["--threads", str(scoring.threads), "--seconds", str(seconds)]
    threads = scoring.threads // scoring.together
    words = peer("score", "--folder", str(FOLDER / "peer"), "--threads", str(threads))
    return words + ["--together", str(scoring.together), "--seconds", str(seconds)]


def peer(*words: str) -> list[str]:
    """ONNX Runtime."""
    return [sys.executable, str(HERE / "peer.py"), *words]


def started(serving: points.Serving) -> Server:
    """A server that is to be started."""
    core = SERVER_CORE if serving.pinned else None
    return Server(NCS, FOLDER / "model", serving.threads, core)


def load_command(
    server: Server, wire: str, values: str, connections: int, seconds: float
) -> list[str]:
    """Callers of the server."""
    words = [str(OURS), "load", "--to", server.address(wire), "--wire", wire, "--values", values]
    words += ["--connections", str(connections), "--seconds", str(seconds)]
    return words + ["--server", str(server.process.pid)]


def half_capacity(records: list[dict], serving: points.Serving, wire: str) -> float:
    """Half of the requests a second that were answered in this sitting, callers as fast as they are
    answered."""
    many = points.throughput_connections(serving.threads)
    found = serving_tables.served(records, "per_s", serving, wire, points.OPEN_FORM, many)
    return found.median / 2


def can_pin() -> bool:
    """Whether there are two cores, and the program that keeps to one."""
    return (os.cpu_count() or 1) >= 2 and shutil.which("taskset") is not None


def load_average() -> str:
    """Over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def record_of(command: list[str]) -> dict:
    """The JSON object that the command prints."""
    env = os.environ | {"PYTHONPATH": str(BENCH)}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


# ---- reporting


def report(records: list[dict], described: dict[str, str], docs: bool) -> None:
    """Prints the tables; writes them where the document is wanted."""
    blocks = serving_tables.blocks(records, described, COMMAND)
    print("\n\n".join(f"{name}\n\n{body}" for name, body in blocks.items()))
    if docs:
        document = ROOT / "docs" / "performance_serving.md"
        text = document.read_text()
        for name, body in blocks.items():
            text = replace_block(text, name, body)
        document.write_text(text)


if __name__ == "__main__":
    main()
