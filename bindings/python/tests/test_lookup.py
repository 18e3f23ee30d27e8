"""Features by id: frames and predictions join the file, as on rows that were joined by hand."""

from __future__ import annotations

import pathlib
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import ncs4cvr
from conftest import model_bytes

START, ROWS = 1_700_000_000, 1200


def items() -> list[tuple[int, int, float]]:
    """Item, time and price of each record."""
    chance = random.Random(3)
    return [(item, START + row, chance.random()) for item in range(20) for row in chance.sample(range(ROWS), 3)]


def rows(joined: bool) -> pa.Table:
    chance = random.Random(4)
    ids = [chance.randrange(21) for _ in range(ROWS)]

    def price(row: int) -> float | None:
        known = [(time, price) for item, time, price in items() if item == ids[row] and time <= START + row]
        return max(known)[1] if known else None

    prices = [price(row) for row in range(ROWS)]
    columns = {
        "ts": [START + row for row in range(ROWS)],
        "item": ids,
        "click": [int(chance.random() < 0.2 + 0.6 * (price or 0)) for price in prices],
        "buy": [int(chance.random() < 0.5) for _ in prices],
    }
    return pa.table({**columns, "price": pa.array(prices, pa.float64())} if joined else columns)


def settings(lookup: pathlib.Path | None) -> dict[str, Any]:
    data: dict[str, Any] = {"train": "unused.parquet", "split": {"by": "time", "column": "ts", "valid": 0.2}}
    if lookup:
        data["lookup"] = {"item": {"files": str(lookup), "time": "since"}}
    return {
        "threads": 1,
        "data": data,
        "columns": {"item": "categorical", "price": "numeric"},
        "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "buy"}},
        "network": {"hidden": [8], "dim": 4},
        "training": {"epochs": 1, "batch": 128},
        "evaluation": {"bootstrap": 0},
    }


def test_frames_are_joined_as_of_their_time(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "items.parquet"
    columns = dict(zip(("item", "since", "price"), zip(*items(), strict=True), strict=True))
    pyarrow.parquet.write_table(pa.table({name: list(values) for name, values in columns.items()}), file)
    looked_up = ncs4cvr.train(settings(file), train=rows(False), out=tmp_path / "looked_up")
    by_hand = ncs4cvr.train(settings(None), train=rows(True), out=tmp_path / "by_hand")
    weights = [model_bytes(run)["weights.safetensors"] for run in (looked_up, by_hand)]
    assert weights[0] == weights[1]
    expected = pa.table(by_hand.model.predict(rows(True)))
    model = ncs4cvr.Model.load(looked_up.path, lookup={"item": file})
    assert pa.table(model.predict(rows(False))) == expected
    assert model.evaluate(rows(False))["tasks"] == by_hand.model.evaluate(rows(True))["tasks"]
    with pytest.raises(ncs4cvr.NcsError, match="looked up by item"):
        looked_up.model.predict(rows(False))
    with pytest.raises(ncs4cvr.NcsError, match="\"price\" is in it and in "):
        ncs4cvr.train(settings(file), train=rows(True), out=tmp_path / "both")
