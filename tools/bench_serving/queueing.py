"""Time in a queue without any overhead: Poisson arrivals, requests of equal length, a few servers (M/D/c).

    python3 tools/bench_serving/queueing.py

prints p99 over the median of the time from arrival to end, the least that a scheduler can reach at this utilisation.
"""

from __future__ import annotations

import heapq
import random

from latencies import percentile


def times(servers: int, utilisation: float, n: int = 400_000, seed: int = 1) -> list[float]:
    """Times from arrival to end in lengths of a request, ascending."""
    draw = random.Random(seed)
    now, free, spent = 0.0, [0.0] * servers, []
    for _ in range(n):
        now += draw.expovariate(utilisation * servers)
        end = max(now, heapq.heappop(free)) + 1.0
        heapq.heappush(free, end)
        spent.append(end - now)
    return sorted(spent)


def main() -> None:
    print("| servers | utilisation | median | p99 | p99 over median |\n| --- | --- | --- | --- | --- |")
    for servers in (1, 2, 8):
        for utilisation in (0.5, 0.6, 0.7):
            spent = times(servers, utilisation)
            median, p99 = percentile(spent, 0.5), percentile(spent, 0.99)
            print(f"| {servers} | {utilisation} | {median:.2f} | {p99:.2f} | {p99 / median:.2f} |")


if __name__ == "__main__":
    main()
