"""Synthetic logs in which clicks depend on one thing, for examples/compare/planted.toml.

    python3 -m venv .venv && .venv/bin/pip install numpy pyarrow
    .venv/bin/python tools/planted/logs.py planted      writes planted/LOG/{train,valid,test}.parquet and planted/articles.parquet

All logs have the same columns. In each, the log-odds of a click follow from one of them (in `nothing`: from none), which no other
column tells; clicked rows are bought with half the log-odds, less one.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = {"train": 20_000, "valid": 5_000, "test": 20_000}
USERS, ITEMS, CATEGORIES, TAGS, ARTICLES = 2_000, 400, 8, 30, 8_000
DIM, LENGTH, MOST_EVENTS = 8, 16, 15
START = 1_795_939_200  # 2026-11-29T08:00:00Z
HOUR = 3600

world = np.random.default_rng(7)
OF_PAIR = world.choice([-1.5, 1.5], (10, CATEGORIES))
OF_STEP = np.array([1.5, -1.5, 1.5, -1.5, 1.0])
STEPS = [5.0, 20.0, 22.0, 60.0]
OF_HOUR, OF_WEEKDAY = world.normal(0, 1, 24), world.normal(0, 0.7, 7)
OF_TAG = world.normal(0, 2.5, TAGS)
OF_NUMBER = world.normal(0, 1.6 / LENGTH**0.5, LENGTH)
VECTORS = world.normal(0, 0.3, (ARTICLES, DIM))
OF_ARTICLE = VECTORS @ world.normal(0, 1.6 / (0.3 * DIM**0.5), DIM)


def rows(n: int, rng: np.random.Generator) -> dict:
    """The columns of n rows, and what logs are planted in."""
    now = START + rng.integers(0, 28 * 24 * HOUR, n)
    published = now - (rng.exponential(24 * HOUR, n)).astype(int)
    user, item = rng.integers(0, USERS, n), rng.integers(0, ITEMS, n)
    n_events = rng.integers(0, MOST_EVENTS + 1, n)
    tags = [rng.choice(TAGS, 5, replace=False) for _ in range(n)]
    weights = rng.exponential(1.0, (n, 5)).round(3)
    events, matches, liked = [], np.zeros(n), np.zeros(n)
    for row in range(n):
        ages = np.sort((96 * HOUR * rng.random(n_events[row]) ** 2).astype(int))[::-1]
        items = rng.integers(0, ITEMS, n_events[row])
        categories = items % CATEGORIES
        matches[row] = ((categories == item[row] % CATEGORIES) & (ages < 48 * HOUR)).sum()
        weight = 0.5 ** (ages / (4 * HOUR))
        liked[row] = weight[categories < CATEGORIES / 2].sum() / (weight.sum() + 0.1)
        of_row = zip(items, categories, now[row] - ages, strict=True)
        events.append([{"item": int(i), "category": f"c{c}", "ts": int(t)} for i, c, t in of_row])
    article = rng.integers(0, ARTICLES, n)
    return {
        "now": now,
        "published": published,
        "user": user,
        "item": item,
        "group": rng.integers(0, 10, n),
        "price": rng.lognormal(3.0, 1.2, n).round(2),
        "events": events,
        "matches": matches,
        "liked": liked,
        "tags": tags,
        "weights": weights,
        "numbers": rng.normal(0, 1, (n, LENGTH)).astype(np.float32),
        "article": article,
    }


def weekday_of(now: np.ndarray) -> np.ndarray:
    """0: Monday."""
    return (now // (24 * HOUR) + 3) % 7


LOGS: dict[str, Callable[[dict], np.ndarray]] = {
    "nothing": lambda of: np.zeros(len(of["now"])),
    "history": lambda of: 3 * np.minimum(of["matches"], 2) - 2,
    "recency": lambda of: 5 * of["liked"] - 2.5,
    "cross": lambda of: OF_PAIR[of["group"], of["item"] % CATEGORIES],
    "boundaries": lambda of: OF_STEP[np.searchsorted(STEPS, of["price"], side="right")],
    "time": lambda of: OF_HOUR[of["now"] // HOUR % 24] + OF_WEEKDAY[weekday_of(of["now"])],
    "age": lambda of: np.where(of["now"] - of["published"] < 6 * HOUR, 1.5, -0.5),
    "weighted": lambda of: (of["weights"] * OF_TAG[np.array(of["tags"])]).sum(1) / of["weights"].sum(1),
    "vector": lambda of: of["numbers"] @ OF_NUMBER,
    "init": lambda of: OF_ARTICLE[of["article"]],
}


def table(of: dict, logit: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """A table of these rows with labels."""
    click = rng.random(len(logit)) < 1 / (1 + np.exp(-logit))
    buy = rng.random(len(logit)) < 1 / (1 + np.exp(1 - logit / 2))
    event = pa.struct([("item", pa.int64()), ("category", pa.string()), ("ts", pa.timestamp("s"))])
    return pa.table(
        {
            "user": of["user"],
            "item": of["item"],
            "category": [f"c{item % CATEGORIES}" for item in of["item"]],
            "user_group": of["group"],
            "price": of["price"],
            "now": pa.array(of["now"], pa.timestamp("s")),
            "published": pa.array(of["published"], pa.timestamp("s")),
            "history": pa.array(of["events"], pa.list_(event)),
            "tags": pa.array([list(map(int, tags)) for tags in of["tags"]], pa.list_(pa.int64())),
            "tag_weights": pa.array(of["weights"].tolist(), pa.list_(pa.float64())),
            "numbers": pa.array(of["numbers"].tolist(), pa.list_(pa.float32())),
            "article": of["article"],
            "click": click.astype(np.int8),
            "buy": pa.array(buy.astype(np.int8), mask=~click),
        }
    )


def main() -> None:
    """Writes the logs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    for number, (part, n) in enumerate(ROWS.items()):
        of = rows(n, np.random.default_rng([1, number]))
        for log, (name, logit) in enumerate(LOGS.items()):
            (folder / name).mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([2, number, log])
            pq.write_table(table(of, logit(of), rng), folder / name / f"{part}.parquet")
    vectors = pa.array(VECTORS.astype(np.float32).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": np.arange(ARTICLES), "vector": vectors}), folder / "articles.parquet")


if __name__ == "__main__":
    main()
