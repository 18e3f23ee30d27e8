"""Records of several repetitions to figures: medians, spreads, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

Record = dict


@dataclass(frozen=True)
class Figure:
    """The median of some repetitions, and how far they lie apart."""

    median: float
    low: float
    high: float
    n: int

    @property
    def spread(self) -> float:
        """(highest - lowest) / median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def figure(values: Iterable[float]) -> Figure | None:
    """`None` of nothing."""
    values = list(values)
    if not values:
        return None
    return Figure(statistics.median(values), min(values), max(values), len(values))


def pick(records: Iterable[Record], field: str, **wanted: object) -> Figure | None:
    """The figure of a field over the records that have these values; `None` where there is none."""
    matching = (r for r in records if all(r.get(key) == value for key, value in wanted.items()))
    return figure(r[field] for r in matching if r.get(field) is not None)


def ratio(of: Figure | None, to: Figure | None) -> float | None:
    """How many times `to` the median of `of` is."""
    if of is None or to is None or to.median == 0:
        return None
    return of.median / to.median


class Results:
    """The records of one sitting, by point."""

    def __init__(self, points: dict[str, dict[str, list[Record]]]) -> None:
        self.points = points

    def ours(self, point: str, field: str = "cpu_ms", **wanted: object) -> Figure | None:
        """Our figure at a point."""
        return pick(self.points.get(point, {}).get("ours", []), field, **wanted)

    def peer(
        self, point: str, engine: str, field: str = "cpu_ms", **wanted: object
    ) -> Figure | None:
        """A peer's figure at a point."""
        records = self.points.get(point, {}).get("peer", [])
        return pick(records, field, engine=engine, **wanted)

    def waiting(self) -> float | None:
        """Of the wall time of runs at one thread, the share (median) that was no CPU time: how busy
        others kept the machine."""
        shares = [
            1 - record["cpu_ms"] / record["wall_ms"]
            for of_point in self.points.values()
            for records in of_point.values()
            for record in records
            if record.get("threads") == 1 and record.get("cpu_ms") and record.get("wall_ms")
        ]
        found = figure(shares)
        return found and found.median
