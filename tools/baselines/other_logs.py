"""Two synthetic logs with laws of their own, written after the defaults were fixed, to test them once.

    python tools/baselines/other_logs.py --out DIR
    python tools/baselines/run.py --compare DIR/compare.toml --out DIR/scores
    ncs compare DIR/compare.toml --scores DIR/scores --out DIR/comparison

Neither law is that of `ncs synth`: there are no hidden vectors of Zipf fields here. `shop`: purchases follow prices against
budgets, thresholds of discounts and stock; items come and go. `feed`: long watches follow the length of a video against
the patience of a user, which tires over a session; half of the items of the test days are new.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS = 8
TEST_DAYS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the logs and of the comparison")
    out = parser.parse_args().out
    for name, (make, run) in LOGS.items():
        write(out / name, make(np.random.default_rng(20261128)), run)
    (out / "compare.toml").write_text(COMPARISON)


def write(folder: Path, columns: dict[str, np.ndarray], run: str) -> None:
    """Rows of the last days are the test part; within a part rows are in the order of time."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.argsort(columns["time"], kind="stable")
    table = pa.table(columns).take(pa.array(order))
    is_test = table["time"].to_numpy() >= (DAYS - TEST_DAYS) * 86_400
    for part, rows in (("train", ~is_test), ("test", is_test)):
        pq.write_table(table.filter(pa.array(rows)), folder / f"{part}.parquet")
    first_valid = (DAYS - TEST_DAYS) * 86_400 - 86_400 // 2
    (folder / "run.toml").write_text(run.format(valid_from=first_valid))


def logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def arrivals(random: np.random.Generator, n_items: int, share_of_old: float) -> np.ndarray:
    """When items appear, in seconds; some are there from the start."""
    start = random.random(n_items) * DAYS * 86_400
    return np.where(random.random(n_items) < share_of_old, -random.random(n_items) * 30 * 86_400, start)


def shown(random: np.random.Generator, time: np.ndarray, start: np.ndarray, half_life: float) -> np.ndarray:
    """An item for each row among those that are there, newer ones more often."""
    items = np.empty(len(time), dtype=np.int64)
    appeal = random.gamma(0.7, 1.0, len(start))
    for hour in range(DAYS * 24):
        rows = np.flatnonzero((time >= hour * 3_600) & (time < (hour + 1) * 3_600))
        age = hour * 3_600 + 3_600 - start
        weight = np.where(age > 0, appeal * 0.5 ** (age / half_life), 0.0) + np.where(age > 0, 1e-4, 0.0)
        items[rows] = random.choice(len(start), len(rows), p=weight / weight.sum())
    return items


def shop(random: np.random.Generator) -> dict[str, np.ndarray]:
    """160,000 impressions of a shop: 6 % clicks, of which 12 % buy."""
    n, n_users, n_items, n_categories = 160_000, 6_000, 2_500, 40
    time = np.sort(random.random(n)) * DAYS * 86_400
    user = random.choice(n_users, n, p=zipf(n_users, 0.6))
    start = arrivals(random, n_items, 0.5)
    item = shown(random, time, start, 4 * 86_400)

    category = random.choice(n_categories, n_items, p=zipf(n_categories, 0.8))
    brand = random.integers(0, 300, n_items)
    typical = random.normal(3.3, 0.9, n_categories)[category]
    price = np.exp(typical + random.normal(0, 0.5, n_items)).round(0) - 0.01 * (random.random(n_items) < 0.6)
    quality = random.normal(0, 0.5, n_items) + random.normal(0, 0.5, 300)[brand]
    stock = random.poisson(6, n_items)

    budget = random.normal(3.4, 0.7, n_users)
    orders = random.negative_binomial(1, 0.15, n_users)
    taste = random.normal(0, 0.8, (n_users, n_categories)) * (random.random((n_users, n_categories)) < 0.25)
    is_frugal = random.random(n_users) < 0.3

    discount = np.where(random.random(n) < 0.35, random.choice([5, 10, 15, 20, 25, 30, 40, 50], n), 0)
    position = random.geometric(0.12, n)
    hour = (time // 3_600 % 24).astype(np.int64)
    device = random.choice(3, n, p=[0.6, 0.3, 0.1])
    age = time - start[item]
    paid = price[item] * (1 - discount / 100)
    too_dear = np.maximum(np.log(paid) - budget[user], 0)

    click = -2.9 + taste[user, category[item]] + quality[item] - 0.5 * np.log1p(position / 3)
    click += 0.5 * (discount >= 20) + 0.4 * (discount >= 40) + 0.4 * np.exp(-age / 86_400) - 0.5 * too_dear
    is_click = random.random(n) < logistic(click)

    buy = -1.9 + 0.5 * quality[item] - 1.6 * too_dear + 0.25 * np.log1p(orders[user])
    buy += np.where(is_frugal[user], 1.2 * (discount >= 30) - 0.4, 0.2) + 0.5 * ((hour >= 19) & (hour <= 22))
    buy += -0.7 * (stock[item] == 0) - 0.5 * (device == 1) + 0.4 * (np.abs(price[item] % 1 - 0.99) < 1e-6)
    is_buy = is_click & (random.random(n) < logistic(buy))
    return {
        "time": time.astype(np.int64),
        "user": user,
        "item": item,
        "category": category[item],
        "brand": brand[item],
        "price": price[item],
        "discount": discount,
        "position": position,
        "stock": stock[item],
        "age_hours": (age / 3_600).round(1),
        "past_orders": orders[user],
        "hour": hour,
        "device": np.array(["phone", "desktop", "tablet"])[device],
        "click": is_click.astype(np.int64),
        "buy": is_buy.astype(np.int64),
    }


def feed(random: np.random.Generator) -> dict[str, np.ndarray]:
    """120,000 impressions of a video feed: one in four is opened, of which 35 % are watched to their end."""
    n, n_users, n_items, n_authors = 120_000, 4_000, 9_000, 700
    time = np.sort(random.random(n)) * DAYS * 86_400
    user = random.choice(n_users, n, p=zipf(n_users, 0.7))
    start = arrivals(random, n_items, 0.15)
    item = shown(random, time, start, 0.7 * 86_400)

    author = random.choice(n_authors, n_items, p=zipf(n_authors, 0.9))
    language = random.choice(6, n_authors, p=zipf(6, 0.8))[author]
    length = np.exp(random.normal(3.6, 0.8, n_items)).clip(4, 900).round(0)
    thumbnail = random.normal(0, 0.6, n_items) + random.normal(0, 0.6, n_authors)[author]
    topics = [sorted(random.choice(60, random.integers(1, 5), replace=False, p=zipf(60, 0.5))) for _ in range(n_items)]
    substance = random.normal(0, 0.7, n_authors)[author] - 0.3 * thumbnail

    speaks = random.choice(6, n_users, p=zipf(6, 0.8))
    patience = random.normal(3.5, 0.6, n_users)
    likes = random.normal(0, 0.7, (n_users, 60)) * (random.random((n_users, 60)) < 0.2)
    match = np.array([likes[u, topics[i]].sum() for u, i in zip(user, item)])

    place = random.geometric(0.08, n)
    idle = np.exp(random.normal(2.0, 1.2, n)).round(1)
    is_foreign = speaks[user] != language[item]
    tired = np.log1p(place) * 0.25
    too_long = np.abs(np.log(length[item]) - patience[user] + tired)

    click = -0.6 + 0.9 * match + thumbnail[item] - 1.4 * is_foreign - 0.3 * tired - 0.2 * (idle > 30)
    is_click = random.random(n) < logistic(click)
    watch = 0.9 + 0.6 * match + substance[item] - 1.3 * too_long - 0.8 * is_foreign - 0.15 * np.log1p(idle)
    is_watch = is_click & (random.random(n) < logistic(watch))
    days = (time // 86_400).astype(np.int64)
    views = np.bincount(user, minlength=n_users)
    return {
        "time": time.astype(np.int64),
        "user": user,
        "video": item,
        "author": author[item],
        "user_language": speaks[user],
        "video_language": language[item],
        "topics": pa.array([[int(one) for one in topics[i]] for i in item]),
        "length_s": length[item].astype(np.int64),
        "age_s": (time - start[item]).astype(np.int64),
        "place": place,
        "idle_s": idle,
        "user_views": views[user] + random.poisson(3, n),
        "weekday": days % 7,
        "click": is_click.astype(np.int64),
        "watched": is_watch.astype(np.int64),
    }


def zipf(n: int, power: float) -> np.ndarray:
    weight = np.arange(1, n + 1) ** -power
    return weight / weight.sum()


RUN = """# {about} Columns by kind, nothing else set; validation is the last half day of training.
seed = 1

[data]
train = "train.parquet"
test = "test.parquet"
split = {{{{ by = "time", column = "time", valid_from = {{valid_from}} }}}}

[columns]
{columns}

[tasks.ctr]
label = "click"

[tasks.cvr]
label = "{label}"
where = "ctr"
"""


def run_file(about: str, columns: dict[str, str], label: str) -> str:
    lines = [f'{name} = "{kind}"' for kind, names in columns.items() for name in names.split()]
    return RUN.format(about=about, columns="\n".join(lines), label=label)


LOGS = {
    "shop": (
        shop,
        run_file(
            "A shop.",
            {
                "categorical": "user item category brand hour device",
                "numeric": "price discount position stock age_hours past_orders",
            },
            "buy",
        ),
    ),
    "feed": (
        feed,
        run_file(
            "A video feed.",
            {
                "categorical": "user video author user_language video_language weekday",
                "list": "topics",
                "numeric": "length_s age_s place idle_s user_views",
            },
            "watched",
        ),
    ),
}

COMPARISON = """title = "Two logs with other laws"
seeds = [1, 2, 3, 4, 5]
references = ["lightgbm", "lightgbm_past_rates", "pytorch"]

[tuning]
trials = 1

[data.shop]
run = "shop/run.toml"
about = "A shop: prices against budgets, thresholds of discounts, stock."

[data.feed]
run = "feed/run.toml"
about = "A video feed: lengths against patience; half of the test items are new."

[methods.untouched]
about = "The defaults of ncs."

[methods.lightgbm]
about = "LightGBM, native categories."
scores = "{data}/lightgbm-{seed}.parquet"

[methods.lightgbm_past_rates]
about = "LightGBM; ids of more than 100 values as ordered target statistics."
scores = "{data}/lightgbm_past_rates-{seed}.parquet"

[methods.pytorch]
about = "A plain shared bottom in PyTorch."
scores = "{data}/pytorch-{seed}.parquet"
"""


if __name__ == "__main__":
    main()
