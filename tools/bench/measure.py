"""CPU and wall time of a piece of work: warm-up, then the median of several samples."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Cost(NamedTuple):
    """Medians of `n` samples."""

    cpu_ms: float
    wall_ms: float
    n: int


def cpu_seconds() -> float:
    """CPU time of this process so far, all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_rss_mb() -> float:
    """The most memory that this process has held, MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def once(work: Callable[[], object]) -> Cost:
    """One sample, no warm-up."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return Cost((cpu_seconds() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3, 1)


def median_cost(
    work: Callable[[], object], samples: int, warm_up: int, calls_per_sample: int = 1
) -> Cost:
    """The median cost of one call; short calls need several in a sample."""
    for _ in range(warm_up):
        work()
    costs = [once(lambda: [work() for _ in range(calls_per_sample)]) for _ in range(samples)]
    cpu = statistics.median(cost.cpu_ms for cost in costs) / calls_per_sample
    wall = statistics.median(cost.wall_ms for cost in costs) / calls_per_sample
    return Cost(cpu, wall, samples)
