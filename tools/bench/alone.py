"""How much of a joint step one thread does while the other waits: what keeps two threads from being twice as fast.

    .venv/bin/python tools/bench/alone.py

Needs Linux's `perf`. Samples of each thread's processor time, 5,000 a second; a thread is alone where no other has a sample
within 0.6 ms. Threads that look for work count as waiting. What other programs take from one of two threads is in it too, so the
machine should be quiet.
"""

from __future__ import annotations

import argparse
import bisect
import re
import shlex
import subprocess
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = "cargo build --release -p ncs-train --example cost"
BINARY = "target/release/examples/cost"
STEP = "step --density 0.2 0.2 --threads 2 --samples"
NEAR = 0.0006
IDLE = re.compile(r"rayon_core|crossbeam|sched_yield|schedule|rwsem|do_syscall")
# `tid time: address symbol`
SAMPLE = re.compile(r"^\s*(\d+)\s+([\d.]+):\s+[0-9a-f]+\s+(.*)$")

Samples = dict[int, list[tuple[float, str]]]


def main() -> None:
    """Samples and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100, help="steps that are sampled")
    parser.add_argument("--ours", help="the program `cost`, built already")
    args = parser.parse_args()
    if not args.ours:
        subprocess.run(shlex.split(BUILD), cwd=ROOT, check=True)
    print(report(sampled([args.ours or BINARY, *shlex.split(STEP), str(args.samples)])))


def sampled(command: list[str]) -> Samples:
    """The samples of the two threads that work most, without the first quarter: the model is made in it."""
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        record = ["perf", "record", "-q", "-o", data, "-e", "cpu-clock", "-F", "5000", "--", *command]
        subprocess.run(record, cwd=ROOT, check=True, capture_output=True)
        script = ["perf", "script", "-i", data, "-F", "tid,time,ip,sym"]
        text = subprocess.run(script, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    busy = sorted(by_thread(text).items(), key=lambda item: -len(item[1]))[:2]
    begin = max(samples[len(samples) // 4][0] for _, samples in busy)
    end = min(samples[-1][0] for _, samples in busy)
    return {tid: [one for one in samples if begin < one[0] < end] for tid, samples in busy}


def by_thread(text: str) -> Samples:
    """The times of each thread's samples with the function, without those that look for work."""
    threads: Samples = defaultdict(list)
    for line in text.splitlines():
        if (found := SAMPLE.match(line)) and not IDLE.search(found[3]):
            threads[int(found[1])].append((float(found[2]), found[3]))
    return threads


def alone(threads: Samples) -> Counter[str]:
    """The samples of any thread near which no other has one, by function."""
    counts: Counter[str] = Counter()
    for tid, samples in threads.items():
        others = sorted(time for other, theirs in threads.items() if other != tid for time, _ in theirs)
        for time, function in samples:
            place = bisect.bisect(others, time)
            near = others[max(place - 1, 0) : place + 1]
            if all(abs(other - time) > NEAR for other in near):
                counts[function] += 1
    return counts


def report(threads: Samples) -> str:
    """The share of the time, and of which functions."""
    by_function = alone(threads)
    all_samples = sum(map(len, threads.values()))
    # While one is alone, it has as many samples as two have together in half of the time.
    n_alone = by_function.total()
    time = (all_samples - n_alone) / 2 + n_alone
    lines = [f"one thread alone: {n_alone / time:.1%} of the time"]
    lines += [f"{n / time:7.2%}  {function}" for function, n in by_function.most_common(8)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
