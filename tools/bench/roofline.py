"""Where a joint step spends its time, beside what the machine allows: a table for docs/performance.md.

    .venv/bin/python tools/bench/roofline.py            prints it
    .venv/bin/python tools/bench/roofline.py --docs     writes it

Needs Linux's `perf`, `addr2line` and a C compiler. Samples of the processor's clock are assigned to the first part to which the
function belongs, or one that is inlined there; `limits.c` measures what one core can do.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tables

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = "cargo build --release -p ncs-train --example cost"
BINARY = "target/release/examples/cost"
DENSITY = 0.2

# The paper's size: see workload.py.
ROWS, CLICKED = 4096, 410
LAYERS = ((530, 512), (512, 256), (256, 128))
FIELDS, DIM, IDS = 20, 16, 45
TOUCHED_ROWS = 59_000


@dataclass(frozen=True)
class Part:
    """A part of the step: which source files it is, and what it has to do."""

    name: str
    files: tuple[str, ...]
    fmas: float = 0.0
    bytes: float = 0.0
    # Cache lines at random places; a table row and its moments have three.
    lines: int = 0

    def limit_ms(self, machine: dict[str, float]) -> float:
        """The time that multiply-adds or memory need, whichever is longer."""
        return max(
            2e3 * self.fmas / (machine["gflops"] * 1e9),
            1e3 * self.bytes / (machine["read_gb_per_s"] * 1e9),
            machine["rows_ms"] * self.lines / (3 * machine["touched_rows"]),
        )


def parts() -> list[Part]:
    """In the order in which a sample is tried."""
    kept = DENSITY * sum(inputs * outputs for inputs, outputs in LAYERS)
    products = kept * (ROWS + CLICKED)
    dense = sum(inputs * outputs for inputs, outputs in LAYERS)
    pairs = FIELDS * (FIELDS + 1) / 2 * DIM
    vectors = ROWS * FIELDS * DIM * 4
    return [
        Part("update of table rows", ("optim/rows",), lines=3 * TOUCHED_ROWS),
        # Weight, two moments and gradient of each, read and written.
        Part("dense Adam", ("/optim",), bytes=7 * 4 * dense),
        Part(
            "gradients of weights",
            ("weight_gradient.rs", "column_groups.rs", "square_blocks.rs", "column_groups/", "square_blocks/"),
            fmas=products,
        ),
        Part("products, forward and to inputs", ("sparse/matmul.rs",), fmas=2 * products),
        # Forward; gradients for both vectors of a pair.
        Part("Gram matrix", ("tiles/gram.rs", "interaction.rs"), fmas=3 * pairs * ROWS),
        # Read and written, to tiles and back.
        Part("tiles: transposed, gathered", ("tiles/",), bytes=4 * vectors),
        Part("gradients summed by table row", ("embedding_gradients",), bytes=ROWS * IDS * DIM * 4 + 2 * TOUCHED_ROWS * DIM * 4),
        Part("weights to the order of products and back", ("subnet.rs", "layer_layout.rs", "sparse_layouts.rs"), bytes=4 * 4 * dense),
        # The place of each row in an index of all rows, and its vector.
        Part("ids looked up, vectors read", ("resolved_ids", "/tables", "row_requests"), lines=2 * TOUCHED_ROWS),
        Part("new rows drawn", ("counter_rng", "initial_rows")),
        Part("losses, heads", ("/loss", "executor/head.rs", "workspace/loss.rs")),
    ]


REST = "the rest: page faults, copies, calls"


def main() -> None:
    """Samples, assigns, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md")
    parser.add_argument("--samples", type=int, default=41, help="steps that are sampled")
    args = parser.parse_args()
    subprocess.run(shlex.split(BUILD), cwd=ROOT, check=True)
    machine = limits()
    step_ms, shares = sampled(args.samples)
    table = roofline_table(machine, step_ms, shares)
    print(table)
    if args.docs:
        document = ROOT / "docs" / "performance.md"
        document.write_text(tables.replace_block(document.read_text(), "roofline", table))


def limits() -> dict[str, float]:
    """What one core can do."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/limits"
        subprocess.run(["cc", "-O3", "-march=native", "-o", program, HERE / "limits.c"], check=True)
        return json.loads(subprocess.run([program], check=True, capture_output=True).stdout)


def sampled(samples: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of a step, and the share of each part in them."""
    step = f"step --density {DENSITY} {DENSITY} --samples"
    # A run without sampled steps, to be taken away: batches, the model, first steps.
    _, before = profile(shlex.split(f"{BINARY} {step} 1"))
    step_ms, all_samples = profile(shlex.split(f"{BINARY} {step} {samples}"))
    all_samples.subtract(before)
    total = sum(max(n, 0) for n in all_samples.values())
    return step_ms, {name: max(n, 0) / total for name, n in all_samples.items()}


def profile(command: list[str]) -> tuple[float, Counter[str]]:
    """CPU milliseconds that the command reports, and its samples by part."""
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        record = ["perf", "record", "-q", "-o", data, "-e", "cpu-clock", "-F", "1999", "--", *command]
        done = subprocess.run(record, cwd=ROOT, check=True, capture_output=True, text=True)
        cpu_ms = json.loads(done.stdout.splitlines()[0])["cpu_ms"]
        script = ["perf", "script", "-i", data, "--show-mmap-events", "-F", "comm,ip,dso"]
        lines = subprocess.run(script, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        addresses = list(addresses_of(lines.splitlines(), Path(command[0]).name))
    return cpu_ms, Counter(parts_of(addresses, ROOT / command[0]))


def addresses_of(lines: list[str], binary: str) -> Iterator[int | None]:
    """Of each sample the address in the binary; `None` outside of it."""
    mapped = re.compile(r"\[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (?:0x)?([0-9a-f]+) .*r-xp .*/" + binary + "$")
    sample = re.compile(r"\s([0-9a-f]+) \((.*)\)$")
    start = offset = 0
    for line in lines:
        if found := mapped.search(line):
            start, offset = int(found[1], 16), int(found[3], 16)
        elif (found := sample.search(line)) and "PERF_RECORD" not in line:
            inside = found[2].endswith("/" + binary)
            yield int(found[1], 16) - start + offset if inside else None


def parts_of(addresses: list[int | None], binary: Path) -> Iterator[str]:
    """The part of each address."""
    wanted = sorted({address for address in addresses if address is not None})
    shift = code_shift(binary)
    text = "\n".join(hex(address + shift) for address in wanted)
    command = ["addr2line", "-a", "-i", "-e", binary]
    lines = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    frames: list[list[str]] = []
    for line in lines.splitlines():
        if line.startswith("0x") and ":" not in line:
            frames.append([])
        else:
            frames[-1].append(line)
    names = dict(zip(wanted, map(part_of, frames), strict=True))
    for address in addresses:
        yield REST if address is None else names[address]


def code_shift(binary: Path) -> int:
    """What an address of code has more than its place in the file."""
    headers = ["readelf", "-lW", binary]
    for line in subprocess.run(headers, check=True, capture_output=True, text=True).stdout.splitlines():
        words = line.split()
        if words[:1] == ["LOAD"] and "R E" in line:
            return int(words[2], 16) - int(words[1], 16)
    raise ValueError(f"{binary}: no segment of code")


def part_of(frames: list[str]) -> str:
    """The first part to which one of the functions belongs, which are inlined in each other."""
    for part in parts():
        if any(file in frame for frame in frames for file in part.files):
            return part.name
    return REST


def roofline_table(machine: dict[str, float], step_ms: float, shares: dict[str, float]) -> str:
    """One row a part: measured, multiply-adds, bytes, limit, what is reached."""
    rows = []
    for part in sorted(parts(), key=lambda part: -shares.get(part.name, 0)):
        spent = step_ms * shares.get(part.name, 0)
        limit = part.limit_ms(machine)
        rows.append(
            [
                part.name,
                f"{spent:.1f}",
                f"{part.fmas / 1e6:,.0f}" if part.fmas else "",
                f"{part.bytes / 1e6:.1f}" if part.bytes else f"{part.lines:,} lines" if part.lines else "",
                f"{limit:.1f}" if limit else "",
                f"{limit / spent:.0%}" if limit and spent else "",
            ]
        )
    rows.append([REST, f"{step_ms * shares.get(REST, 0):.1f}", "", "", "", ""])
    limit = sum(part.limit_ms(machine) for part in parts())
    rows.append(["a step", f"{step_ms:.1f}", "", "", f"{limit:.1f}", f"{limit / step_ms:.0%}"])
    header = ["part", "ms", "multiply-adds, M", "bytes, MB", "limit, ms", "reached"]
    return (
        f"{tables.markdown(header, rows)}\n\nLimits of one core, measured in the same sitting (`tools/bench/limits.c`): "
        f"{machine['gflops']:.0f} GF/s in registers, {machine['read_gb_per_s']:.0f} GB/s from memory in order, "
        f"{machine['rows_ms']:.1f} ms to change {machine['touched_rows']:,} rows of 192 bytes at random places."
    )


if __name__ == "__main__":
    main()
