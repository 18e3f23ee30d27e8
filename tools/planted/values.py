"""Losses for values of which most are 0: `ziln` beside `squared`, `weighted_logistic` and `poisson`, each at the best of the same grid.

    python3 -m venv .venv && .venv/bin/pip install numpy pyarrow
    .venv/bin/python tools/planted/values.py logs values [EBNERD]    writes values/LOG/{train,valid,test}.parquet
    .venv/bin/python tools/planted/values.py run values NCS          trains; may be stopped and started again
    .venv/bin/python tools/planted/values.py table values            prints the tables of docs/features_measured.md

Synthetic logs: nine rows of ten have 0. `lognormal` is the law that `ziln` assumes; amounts of `gamma` are of another. The chance and
the amount depend on a group, an item and a price, in part in opposite directions; the column `truth` holds the mean. EBNERD is a folder with
the impressions of a news site: seconds read, 0 where the article was not opened.

A grid of four trainings (learning rate, batch) is evaluated on the validation rows; the best by normalised Gini is trained with five seeds
and evaluated on the test rows.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import pathlib
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = {"train": 24_000, "valid": 6_000, "test": 20_000}
EBNERD_ROWS = {"train": 60_000, "valid": 15_000, "test": 40_000}
GROUPS, ITEMS = 12, 300
LOSSES = ["ziln", "squared", "weighted_logistic", "poisson"]
GRID = list(itertools.product([0.0005, 0.002], [128, 512]))
SEEDS = [1, 2, 3, 4, 5]
FIGURES = ["gini", "absolute_error", "pcoc", "relative_squared_error"]

COLUMNS = {
    "synthetic": {"group": "categorical", "item": "categorical", "price": "numeric"},
    "ebnerd": {
        "user_id": "categorical",
        "article_id": "categorical",
        "device_type": "categorical",
        "hour": "categorical",
        "premium": "categorical",
        "article_length": "numeric",
        "a_age_s": "numeric",
        "a_hist_read_mean": "numeric",
        "u_hist_read_mean": "numeric",
        "a_click_prev": "numeric",
        "a_inview_prev": "numeric",
    },
}


def synthetic(law: str, n: int, rng: np.random.Generator) -> pa.Table:
    """Rows of a law, with the true mean of each."""
    world = np.random.default_rng(11)
    effects = {name: world.normal(0, 1, size) for name, size in (("chance", GROUPS), ("amount", GROUPS))}
    of_item = {name: world.normal(0, 0.7, ITEMS) for name in ("chance", "amount")}
    group, item = rng.integers(0, GROUPS, n), rng.integers(0, ITEMS, n)
    price = rng.lognormal(2, 0.8, n)
    chance = -2.9 + 0.7 * effects["chance"][group] + of_item["chance"][item] - 0.5 * (np.log(price) - 2)
    location = 2.5 - 0.3 * effects["chance"][group] + 0.5 * effects["amount"][group] + of_item["amount"][item]
    location += 0.8 * (np.log(price) - 2)
    chance = 1 / (1 + np.exp(-chance))
    if law == "lognormal":
        amount, mean = np.exp(location + 1.2 * rng.normal(size=n)), np.exp(location + 1.2**2 / 2)
    else:
        shape = 0.7
        amount, mean = rng.gamma(shape, np.exp(location) / shape), np.exp(location)
    spends = rng.random(n) < chance
    columns = {"group": group, "item": item, "price": price, "value": np.where(spends, amount, 0.0)}
    return pa.table({**columns, "truth": chance * mean})


def ebnerd(folder: pathlib.Path) -> dict[str, pa.Table]:
    """The first impressions of both files, the last fifth of the training rows as validation; they are sorted by time."""
    first = pq.read_table(folder / "train.parquet")[: EBNERD_ROWS["train"] + EBNERD_ROWS["valid"]]
    parts = {
        "train": first[: EBNERD_ROWS["train"]],
        "valid": first[EBNERD_ROWS["train"] :],
        "test": pq.read_table(folder / "valid.parquet")[: EBNERD_ROWS["test"]],
    }

    def valued(table: pa.Table) -> pa.Table:
        seconds = table["read_seconds"].to_numpy(zero_copy_only=False).astype(float)
        click = table["click"].to_numpy(zero_copy_only=False)
        seconds = np.where(click == 0, 0.0, seconds)
        table = table.select(list(COLUMNS["ebnerd"]))
        table = table.append_column("value", pa.array(seconds, from_pandas=True))
        return table.filter(pc.is_valid(table["value"]))

    return {part: valued(table) for part, table in parts.items()}


def logs(out: pathlib.Path, real: pathlib.Path | None) -> None:
    for law in ("lognormal", "gamma"):
        rng = np.random.default_rng(3)
        write(out / law, {part: synthetic(law, n, rng) for part, n in ROWS.items()}, COLUMNS["synthetic"])
    if real:
        write(out / "ebnerd", ebnerd(real), COLUMNS["ebnerd"])


def write(folder: pathlib.Path, parts: dict[str, pa.Table], columns: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, table in parts.items():
        pq.write_table(table, folder / f"{part}.parquet")
        values = table["value"].to_numpy()
        print(f"{folder.name} {part}: {len(values)} rows, {(values == 0).mean():.3f} zero, mean {values.mean():.3f}")
    lines = [f"{name} = {kind!r}".replace("'", '"') for name, kind in columns.items()]
    text = "\n".join(
        [
            "threads = 1",
            '[data]\ntrain = "train.parquet"\nvalid = "valid.parquet"\ntest = "test.parquet"\ncache = "cache"',
            "[columns]",
            *lines,
            '[tasks.value]\nlabel = "value"\nloss = "poisson"',
            '[network]\nkind = "shared_bottom"\ndim = 8\nhidden = [64, 32]',
            '[features]\nrates = "none"',
            '[calibration]\nkind = "none"',
            "[evaluation]\nbootstrap = 0\n",
        ]
    )
    (folder / "run.toml").write_text(text, encoding="utf-8")


def train(ncs: str, log: pathlib.Path, loss: str, rate: float, batch: int, seed: int) -> pathlib.Path:
    """Trains, unless it was done before; returns the run's folder."""
    out = log / f"{loss}-{rate}-{batch}-{seed}"
    if not (out / "metrics.json").exists():
        sets = [f'tasks.value.loss="{loss}"', f"training.learning_rate={rate}", f"training.batch={batch}", f"seed={seed}"]
        words = [word for item in sets for word in ("--set", item)]
        subprocess.run([ncs, "--quiet", "train", str(log / "run.toml"), "--out", str(out), *words], check=True)
    return out


def on_valid(ncs: str, log: pathlib.Path, run: pathlib.Path) -> float:
    """The normalised Gini on the validation rows."""
    kept = run / "on_valid.json"
    if not kept.exists():
        words = [ncs, "--quiet", "evaluate", str(run), "--data", str(log / "valid.parquet"), "--json"]
        kept.write_text(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return json.loads(kept.read_text())["tasks"]["value"]["gini"]


def run(folder: pathlib.Path, ncs: str) -> None:
    cells = [(log, loss) for log in sorted(path.parent for path in folder.glob("*/run.toml")) for loss in LOSSES]

    def grid(cell: tuple[pathlib.Path, str]) -> tuple[float, int]:
        log, loss = cell
        return max(GRID, key=lambda at: on_valid(ncs, log, train(ncs, log, loss, *at, 1)))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        best = list(pool.map(grid, cells))
        jobs = [(ncs, *cell, *at, seed) for cell, at in zip(cells, best, strict=True) for seed in SEEDS]
        runs = list(pool.map(lambda job: train(*job), jobs))
    found: dict[str, dict[str, dict]] = {}
    for (_, log, loss, rate, batch, _), out in zip(jobs, runs, strict=True):
        metrics = json.loads((out / "metrics.json").read_text())["tasks"]["value"]
        cell = found.setdefault(log.name, {}).setdefault(loss, {"at": [rate, batch], "seeds": []})
        cell["seeds"].append({name: metrics[name] for name in FIGURES} | truth(ncs, log, out))
    (folder / "found.json").write_text(json.dumps(found, indent=1) + "\n")


def truth(ncs: str, log: pathlib.Path, out: pathlib.Path) -> dict[str, float]:
    """Distance to the planted means on the test rows: mean of |ln prediction - ln truth|."""
    table = pq.read_table(log / "test.parquet")
    if "truth" not in table.schema.names:
        return {}
    scores = out / "scores.parquet"
    if not scores.exists():
        words = [ncs, "--quiet", "score", str(out), "--data", str(log / "test.parquet"), "--out", str(scores)]
        subprocess.run(words, check=True, capture_output=True)
    predicted = pq.read_table(scores).column(0).to_numpy()
    return {"distance": float(np.abs(np.log(np.maximum(predicted, 1e-3)) - np.log(table["truth"].to_numpy())).mean())}


def table(folder: pathlib.Path) -> None:
    found = json.loads((folder / "found.json").read_text())
    half = 2.776 / len(SEEDS) ** 0.5  # t of four degrees of freedom
    for log, losses in found.items():
        names = [*FIGURES, *(["distance"] if "distance" in losses["ziln"]["seeds"][0] else [])]
        print(f"\n**{log}**\n\n| loss | learning rate, batch | " + " | ".join(names) + " |")
        print("|---" * (len(names) + 2) + "|")
        for loss, cell in losses.items():
            figures = []
            for name in names:
                values = np.array([seed[name] for seed in cell["seeds"]])
                reference = np.array([seed[name] for seed in losses["ziln"]["seeds"]])
                shown = f"{values.mean():.4f} ± {half * values.std(ddof=1):.4f}"
                if loss != "ziln" and name == "gini":
                    difference = values - reference
                    shown += f" ({difference.mean():+.4f} ± {half * difference.std(ddof=1):.4f})"
                figures.append(shown)
            print(f"| `{loss}` | {cell['at'][0]}, {cell['at'][1]} | " + " | ".join(figures) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["logs", "run", "table"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("further", nargs="?")
    arguments = parser.parse_args()
    match arguments.what:
        case "logs":
            logs(arguments.folder, pathlib.Path(arguments.further) if arguments.further else None)
        case "run":
            run(arguments.folder, arguments.further or "ncs")
        case _:
            table(arguments.folder)


if __name__ == "__main__":
    main()
