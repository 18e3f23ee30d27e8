"""Frames of four libraries mean what the same rows mean in a file, whatever the kind of the column."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import random
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import ncs4cvr
from conftest import model_bytes

ROWS = 1500


def table() -> pa.Table:
    """Every kind of column, with nulls."""
    chance = random.Random(7)
    n = range(ROWS)

    def some(value: Any) -> Any:
        return None if chance.random() < 0.1 else value

    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    words = [f"a word of some length {i % 37}" for i in n]
    click = [int(chance.random() < 0.3) for _ in n]
    columns = {
        "int8": pa.array([some(i % 100 - 50) for i in n], pa.int8()),
        "uint16": pa.array([some(i % 300) for i in n], pa.uint16()),
        "int64": pa.array([some(i * 10**12) for i in n], pa.int64()),
        "uint64": pa.array([some(2**63 + i % 50) for i in n], pa.uint64()),
        "float32": pa.array([some(chance.random()) for _ in n], pa.float32()),
        "float64": pa.array([some(chance.gauss(0, 10)) for _ in n], pa.float64()),
        "truth": pa.array([some(i % 3 == 0) for i in n], pa.bool_()),
        "text": pa.array([some(word) for word in words], pa.string()),
        "large": pa.array([some(word) for word in words], pa.large_string()),
        "view": pa.array([some(word) for word in words], pa.string_view()),
        "code": pa.array([some(word) for word in words]).dictionary_encode(),
        "day": pa.array([some((start + datetime.timedelta(days=i % 40)).date()) for i in n], pa.date32()),
        "moment": pa.array(
            [some(start + datetime.timedelta(minutes=i)) for i in n], pa.timestamp("us", tz="Europe/Berlin")
        ),
        "second": pa.array([some(start.replace(tzinfo=None, second=i % 60)) for i in n], pa.timestamp("ms")),
        "price": pa.array([some(decimal.Decimal(i % 500) / 100) for i in n], pa.decimal128(9, 2)),
        "items": pa.array([some([i % 7, i % 11]) for i in n], pa.list_(pa.int32())),
        "tags": pa.array([some([f"t{i % 5}"] * (i % 4)) for i in n], pa.large_list(pa.string())),
        "click": pa.array(click, pa.int8()),
        "conversion": pa.array([int(chance.random() < 0.4) if c else None for c in click], pa.int32()),
    }
    return pa.table(columns)


def settings() -> dict[str, Any]:
    numbers = {"float32", "float64", "price"}
    lists = {"items", "tags"}
    names = [name for name in table().column_names if name not in {"click", "conversion"}]
    kinds = {name: "list" if name in lists else "numeric" if name in numbers else "categorical" for name in names}
    return {
        "threads": 1,
        "data": {"train": "unused.parquet", "split": {"by": "row", "valid": 0.2, "seed": 1}},
        "columns": kinds,
        "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "conversion", "where": "ctr"}},
        "network": {"hidden": [8], "dim": 4},
        "training": {"epochs": 1, "batch": 128},
        "evaluation": {"bootstrap": 0},
    }


@pytest.fixture(scope="module")
def from_file(tmp_path_factory: pytest.TempPathFactory) -> ncs4cvr.Run:
    folder = tmp_path_factory.mktemp("file")
    # Parquet has no views: the writer stores their texts.
    pyarrow.parquet.write_table(table(), folder / "log.parquet")
    return ncs4cvr.train(settings(), train=folder / "log.parquet", out=folder / "out")


def pandas_frame() -> pandas.DataFrame:
    """As pandas holds it by itself: lists and decimals as objects, whole numbers with nulls of its own kind."""
    return table().to_pandas(
        types_mapper={pa.int8(): pandas.Int8Dtype(), pa.uint16(): pandas.UInt16Dtype(), pa.int64(): pandas.Int64Dtype(),
                      pa.uint64(): pandas.UInt64Dtype(), pa.int32(): pandas.Int32Dtype(),
                      pa.bool_(): pandas.BooleanDtype()}.get
    )


def arrow_pandas_frame() -> pandas.DataFrame:
    return table().to_pandas(types_mapper=pandas.ArrowDtype)


def in_pieces() -> pa.RecordBatchReader:
    """A stream that is read once, in batches of odd sizes."""
    rows = table()
    cuts = [0, 1, 400, 401, 1100, ROWS]
    batches = [batch for a, b in zip(cuts, cuts[1:]) for batch in rows.slice(a, b - a).to_batches()]
    return pa.RecordBatchReader.from_batches(rows.schema, batches)


FRAMES = {
    "pyarrow table": table,
    "pyarrow batch": lambda: table().combine_chunks().to_batches()[0],
    "pyarrow stream": in_pieces,
    "polars": lambda: polars.DataFrame(table()),
    "polars in chunks": lambda: polars.concat([polars.DataFrame(table().slice(i, 100)) for i in range(0, ROWS, 100)],
                                              rechunk=False),
    "pandas": pandas_frame,
    "pandas of Arrow": arrow_pandas_frame,
    "DuckDB": lambda: duckdb.sql("select * from rows"),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_trains_the_model_of_its_file(
    kind: str, from_file: ncs4cvr.Run, tmp_path: pathlib.Path
) -> None:
    rows = table()
    frame = duckdb.from_arrow(rows) if kind == "DuckDB" else FRAMES[kind]()
    run = ncs4cvr.train(settings(), train=frame, out=tmp_path / "out")
    assert model_bytes(run) == model_bytes(from_file)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_scores_as_its_file(kind: str, from_file: ncs4cvr.Run) -> None:
    rows = table()
    frame = duckdb.from_arrow(rows) if kind == "DuckDB" else FRAMES[kind]()
    model = from_file.model
    of_file = model.predict(from_file.path.parent / "log.parquet", threads=1)
    of_frame = model.predict(frame, threads=1)
    for output in model.outputs:
        assert (of_frame[output] == of_file[output]).all(), output


def test_feather_files_are_read(from_file: ncs4cvr.Run, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.feather"
    pyarrow.feather.write_feather(table(), path, compression="lz4")
    model = from_file.model
    expected = model.predict(table(), threads=1)["ctr"]
    assert (model.predict(path, threads=1)["ctr"] == expected).all()


def test_a_run_on_frames_stands_alone(from_file: ncs4cvr.Run, tmp_path: pathlib.Path) -> None:
    run = ncs4cvr.train(settings(), train=polars.DataFrame(table()), out=tmp_path / "out")
    again = ncs4cvr.train(run.path / "run.toml", out=tmp_path / "again")
    assert model_bytes(again) == model_bytes(run)


def test_what_is_no_frame_is_refused(model: ncs4cvr.Model) -> None:
    with pytest.raises(TypeError, match="expected a data frame"):
        model.predict(3)  # type: ignore[arg-type]


def test_a_missing_column_is_named(model: ncs4cvr.Model) -> None:
    with pytest.raises(ncs4cvr.DataError, match="the nearest is") as caught:
        model.predict(pa.table({"usr": [1]}))
    assert caught.value.file == "frame"
    assert caught.value.column is not None


def test_a_wrong_value_tells_its_row_and_column(from_file: ncs4cvr.Run) -> None:
    rows = table()
    texts = [None if value is None else str(value) for value in rows["float64"].to_pylist()]
    texts[41] = "many"
    rows = rows.set_column(rows.column_names.index("float64"), "float64", pa.array(texts))
    with pytest.raises(ncs4cvr.DataError, match="many") as caught:
        from_file.model.predict(rows)
    assert (caught.value.file, caught.value.row, caught.value.column) == ("frame", 42, "float64")
