"""Latencies of many calls to a few figures, as `crates/serve/examples/serving_cost/clock.rs` does it."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all is not above; NaN of nothing."""
    if not ascending:
        return math.nan
    return ascending[max(math.ceil(share * len(ascending)), 1) - 1]


def summary(seconds: Sequence[float], wall: float) -> dict[str, float]:
    """Milliseconds, and calls a second of wall time."""
    ascending = sorted(seconds)
    shares = {"median": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    found = {f"{name}_ms": percentile(ascending, share) * 1e3 for name, share in shares.items()}
    return {"n": len(ascending), "seconds": wall, "per_s": len(ascending) / wall, **found}
