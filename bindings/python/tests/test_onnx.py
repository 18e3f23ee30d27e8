"""An exported model gives the scores of the model, in ONNX Runtime, for every network and option."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest

import ncs4cvr

#: Rows that are compared.
ROWS = 10_000

#: Largest difference of a probability; of a value above 1, relative to it.
TOLERANCE = 1e-5


#: Texts of one to four bytes a character, of no character, and of every length modulo 4.
CITIES = ["", "K\u00f6ln", "\u6771\u4eac", "\u041c\u043e\u0441\u043a\u0432\u0430", "\U0001f3d9\ufe0f", "Rio de Janeiro", "\u0627\u0644\u0642\u0627\u0647\u0631\u0629", "a", "S\u00e3o Paulo", "-"]


def rows(n: int, seed: int, unseen: float = 0.0) -> pa.Table:
    """Every kind of column, with nulls, empty lists and, for a share of the rows, ids that no other seed has."""
    chance = np.random.default_rng(seed)
    is_new = chance.random(n) < unseen
    user = np.where(is_new, 1_000_000 + chance.integers(0, 500, n), chance.integers(0, 300, n))
    item = np.where(is_new, 10_000 + chance.integers(0, 100, n), chance.integers(0, 80, n))
    price = np.exp(chance.normal(2, 1.5, n))
    age = chance.integers(15, 80, n)
    x = chance.normal(0, 3, n)
    logit = (user % 7 - 3) / 2 + (item % 5 - 2) / 2 + np.log(price) / 2 - x / 4 - 1
    click = chance.random(n) < 1 / (1 + np.exp(-logit))
    conversion = chance.random(n) < 1 / (1 + np.exp(-(item % 3 - 1 + x / 3)))

    def some(values: Any) -> list[Any]:
        return [None if gone else value for value, gone in zip(values.tolist(), chance.random(n) < 0.05)]

    def lists(most: int, of: Any) -> list[Any]:
        lengths = chance.integers(0, most + 1, n)
        return [of(chance.integers(0, 80, length).tolist()) for length in lengths]

    # Draws of its own, so that all other columns are what they were.
    drawn = np.random.default_rng(seed + 100)
    image = [None if gone else vector for vector, gone in zip(drawn.normal(0, 2, (n, 5)).tolist(), drawn.random(n) < 0.1)]
    spent = np.exp(drawn.normal(item % 3, 1.0)) * (drawn.random(n) < 0.7)
    return pa.table(
        {
            "user": pa.array(some(user), pa.int64()),
            "item": pa.array(some(np.array([f"item {i}" for i in item]))),
            "device": pa.array(some(chance.choice(["phone", "tablet", "-"], n))),
            "city": pa.array(some(np.array(CITIES)[user % len(CITIES)])),
            "history": pa.array(lists(6, lambda ids: [f"item {i}" for i in ids])),
            "tags": pa.array(lists(3, lambda ids: [f"tag {i % 9}" for i in ids])),
            "price": pa.array(some(price)),
            "count": pa.array(some(np.where(chance.random(n) < 0.1, -1, chance.poisson(3, n)))),
            "age": pa.array(some(age), pa.int32()),
            "x": pa.array(some(x)),
            "gain": pa.array(some(chance.standard_cauchy(n) * 50)),
            "same": pa.array([7.0] * n),
            "image": pa.array(image, pa.list_(pa.float64(), 5)),
            "spent": pa.array(spent),
            "click": pa.array(click.astype(int)),
            "conversion": pa.array([int(c) if k else None for c, k in zip(conversion, click)], pa.int8()),
        }
    )


COLUMNS: dict[str, Any] = {
    "user": {"kind": "categorical", "buckets": 5000},
    "item": {"kind": "categorical", "vocabulary": {"min_count": 2}},
    "device": {"kind": "categorical", "missing": ["-"]},
    "history": {"kind": "list", "table": "item", "max_values": 5},
    "tags": {"kind": "list", "pooling": "sum", "buckets": 40},
    "price": {"kind": "numeric"},
    "count": {"kind": "numeric", "missing": ["-1"]},
    "age": {"kind": "numeric", "transform": "quantiles", "buckets": 8},
    "x": {"kind": "numeric", "transform": "standardise"},
    "gain": {"kind": "numeric", "transform": "log"},
    "same": {"kind": "numeric"},
}

BASE: dict[str, Any] = {
    "threads": 1,
    "data": {"train": "unused.parquet", "split": {"by": "row", "valid": 0.3, "seed": 1}},
    "columns": COLUMNS,
    "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "conversion", "where": "ctr"}},
    "network": {"hidden": [16, 8], "dim": 4},
    "training": {"epochs": 2, "batch": 128, "learning_rate": 0.01},
    "evaluation": {"bootstrap": 0},
}

#: A sequence without attention.
SEEN: dict[str, Any] = {
    "kind": "sequence",
    "pooling": "mean",
    "max_length": 4,
    "attributes": {"item": {"column": "history", "table": "item"}},
}

NETWORKS = ["single_task", "shared_bottom", "sparse_sharing", "cross_stitch", "mmoe", "ple", "home", "aitm", "linear"]

#: Wide enough that no task is cut off from its inputs.
WIDE = {"network.hidden": [32, 16], "search.density": 0.6}

#: With each part of the Gram matrix another calibrator.
CALIBRATORS = {"full": "platt", "triangle": "isotonic", "none": "none"}

CASES: dict[str, dict[str, Any]] = {
    f"{kind}, gram {gram}": {
        "network.kind": kind,
        "network.gram": gram,
        "calibration.kind": calibrator,
        **(WIDE if kind == "sparse_sharing" else {}),
    }
    for kind in NETWORKS
    for gram, calibrator in CALIBRATORS.items()
}
CASES |= {
    "one weight set": {"network.kind": "mmoe", "training.keep": "last"},
    "best joint": {"network.kind": "sparse_sharing", "training.keep": "best_joint"},
    "owned units": {"search.common_units": 0.5, "network.hidden": [24, 12]},
    "no common unit": {"search.common_units": 0.0, **WIDE, "network.hidden": [48, 24]},
    "kappa": {"network.kind": "shared_bottom", "training.click_logit": "learned"},
    "kappa under masks": {"training.click_logit": "learned", "calibration.kind": "platt"},
    "random masks": {"search.kind": "random", "search.density": 0.3, "network.hidden": [16]},
    "masks by magnitude": {"search.kind": "magnitude", "search.rounds": 1},
    "esmm": {"network.kind": "shared_bottom", "training.loss": "esmm"},
    "auxiliary head": {"network.kind": "mmoe", "training.loss": "escm2_dr"},
    "counterfactual head": {"training.loss": "dcmt"},
    "quotient": {"network.kind": "aitm", "training.loss": "aitm", "calibration.kind": "platt"},
    "quotient under masks": {"training.loss": "aitm", "calibration.kind": "isotonic"},
    "experts": {"network.kind": "mmoe", "network.experts": 3, "network.hidden": [16, 8, 8]},
    "two levels": {"network.kind": "ple", "network.levels": 2, "network.experts": 2, "network.shared_experts": 2},
    "only levels": {"network.kind": "ple", "network.levels": 2, "network.hidden": [16, 8]},
    "rates": {"features.rates": [{"of": ["user"]}, {"of": ["item"], "tasks": ["ctr"]}]},
    "rate of a pair": {"network.kind": "shared_bottom", "features.rates": [{"of": ["device", "item"]}]},
    "farm hash": {"columns.user.hash": "farm", "columns.tags.hash": "farm"},
    "murmur3 hash": {
        "columns.user.hash": "murmur3",
        "columns.tags.hash": "murmur3",
        "features.rates": [{"of": ["user"]}, {"of": ["device", "user"], "tasks": ["ctr"]}],
        **WIDE,
    },
    "vectors": {
        "columns.image": {"kind": "vector", "length": 5},
        "columns.image_scaled": {"kind": "vector", "column": "image", "length": 5, "standardise": True},
        "columns.image_vector": {"kind": "vector", "column": "image", "length": 5, "projected": True},
        **WIDE,
    },
    "squared error": {"tasks.spent": {"label": "spent", "where": "ctr", "loss": "squared"}, **WIDE},
    "exponential": {
        "network.kind": "shared_bottom",
        "tasks.spent": {"label": "spent", "loss": "poisson"},
        "tasks.again": {"label": "spent", "where": "ctr", "loss": "weighted_logistic"},
    },
    "zeros and a tail": {
        "network.kind": "mmoe",
        "tasks.spent": {"label": "spent", "loss": "ziln"},
    },
    "zeros and a tail under masks": {"tasks.spent": {"label": "spent", "where": "ctr", "loss": "ziln"}, **WIDE},
    "tables of each task": {"network.task_tables": True, "calibration.kind": "platt", **WIDE},
    "mean of events": {"columns.seen": SEEN, **WIDE},
    "last event": {"columns.seen": {**SEEN, "pooling": "last", "newest": "first"}, **WIDE},
    "stem": {"network.kind": "stem", "network.experts": 2},
    "one expert of each task": {"network.kind": "home", "network.experts": 1, "network.hidden": [16, 8, 8]},
    "id dropout": {"network.kind": "shared_bottom", "training.id_dropout": 0.2},
}

ONLY: dict[str, list[str]] = {
    "only numbers": ["price", "x2"],
    "one number": ["x2"],
    "one id": ["user"],
    "one list": ["tags"],
}


def train(columns: dict[str, Any], settings: dict[str, Any], out: pathlib.Path) -> ncs4cvr.Model:
    config = {**BASE, "columns": columns}
    return ncs4cvr.train(config, train=rows(4000, 1), out=out, settings=settings).model


def run(path: pathlib.Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def first(inputs: dict[str, Any], n: int) -> dict[str, Any]:
    return {name: values[:n] for name, values in inputs.items()}


def check(model: ncs4cvr.Model, path: pathlib.Path) -> float:
    """Compares 10,000 rows at once and some one by one; returns the largest difference."""
    model.export(path)
    onnx.checker.check_model(path, full_check=True)
    compared = rows(ROWS, 2, unseen=0.2)
    inputs = model.encode(compared)
    expected = model.predict(compared, threads=1)
    found = run(path, inputs)
    assert list(found) == [f"p_{output}" for output in model.outputs]
    largest = 0.0
    for output in model.outputs:
        assert found[f"p_{output}"].shape == (ROWS,)
        assert len(np.unique(expected[output])) > 1
        difference = np.abs(found[f"p_{output}"] - expected[output]) / np.maximum(1, np.abs(expected[output]))
        largest = max(largest, float(difference.max()))
    assert largest < TOLERANCE
    for n in (1, 3):
        few = run(path, first(inputs, n))
        for name in found:
            np.testing.assert_allclose(few[name], found[name][:n], atol=1e-6, rtol=1e-6)
    return largest


def check_vectors(model: ncs4cvr.Model, path: pathlib.Path) -> None:
    vectors = json.loads(pathlib.Path(f"{path}.vectors.json").read_text(encoding="utf-8"))
    assert vectors["model"] == model.hash
    inputs = {
        name: np.array(about["values"], {"string": object}.get(about["type"], about["type"])).reshape(about["shape"])
        for name, about in vectors["inputs"].items()
    }
    found = run(path, inputs)
    assert set(vectors["outputs"]) == set(found)
    for name, expected in vectors["outputs"].items():
        assert len(expected) == 32
        np.testing.assert_allclose(found[name], expected, atol=vectors["tolerance"])


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_the_model(case: str, tmp_path: pathlib.Path) -> None:
    model = train(COLUMNS, CASES[case], tmp_path / "run")
    assert check(model, tmp_path / "model.onnx") > 0


@pytest.mark.parametrize("case", ONLY)
def test_few_columns_are_enough(case: str, tmp_path: pathlib.Path) -> None:
    more = {"x2": {"kind": "numeric", "column": "x", "buckets": 4}}
    columns = {name: ({**COLUMNS, **more})[name] for name in ONLY[case]}
    model = train(columns, {"network.kind": "shared_bottom"}, tmp_path / "run")
    check(model, tmp_path / "model.onnx")


#: Texts go in: one column of few values, one of rates, and lists that share the table of a column.
TEXTS: dict[str, Any] = {
    "city": {"kind": "categorical", "buckets": 1000, "hash": "murmur3", "missing": ["-"]},
    "item": {"kind": "categorical", "buckets": 300, "hash": "murmur3"},
    "history": {"kind": "list", "table": "item", "max_values": 5},
    "price": {"kind": "numeric"},
}


def test_texts_are_hashed_in_the_graph(tmp_path: pathlib.Path) -> None:
    model = train(TEXTS, {"features.rates": [{"of": ["item"]}], **WIDE}, tmp_path / "run")
    path = tmp_path / "model.onnx"
    assert check(model, path) > 0
    check_vectors(model, path)
    session = onnxruntime.InferenceSession(path)
    assert {put.name: (put.type, len(put.shape)) for put in session.get_inputs()} == {
        "city": ("tensor(string)", 1), "item": ("tensor(string)", 1), "history": ("tensor(string)", 2),
        "history.lengths": ("tensor(int64)", 1), "price": ("tensor(double)", 1),
    }
    # The texts of the log go in as they are, in lists too.
    n = len(CITIES)
    history = [["item 1", "item 7"], []] * (n // 2)
    few = {"city": CITIES, "item": [f"item {i}" for i in range(n)], "history": history, "price": [2.0] * n}
    expected = model.predict(pa.table({name: pa.array(values) for name, values in few.items()}))
    raw = {name: np.array(few[name], object) for name in ("city", "item")}
    raw["history"] = np.array([[*texts, "", ""][:2] for texts in history], object)
    raw |= {"history.lengths": np.array([len(texts) for texts in history]), "price": np.array(few["price"])}
    found = run(path, raw)
    for output in model.outputs:
        np.testing.assert_allclose(found[f"p_{output}"], expected[output], atol=TOLERANCE)
    # The empty text and "-" both mean "missing", which is no city.
    by_city = {city: run(path, {**raw, "city": np.array([city] * n, object)})["p_ctr"] for city in ("", "-", "a")}
    np.testing.assert_array_equal(by_city[""], by_city["-"])
    assert (by_city[""] != by_city["a"]).any()
    no_texts = run(path, {**raw, "history": np.empty((n, 0), object), "history.lengths": np.zeros(n, np.int64)})
    np.testing.assert_allclose(no_texts["p_ctr"][1::2], found["p_ctr"][1::2], atol=1e-6)


def test_the_hash_is_that_of_scikit_learn(tmp_path: pathlib.Path) -> None:
    from sklearn.utils import murmurhash3_32

    texts = [f"user {n}" for n in range(500)] + [f"\u00e9{n}\u65e5" for n in range(500)]
    frame = pa.table({"user": texts * 2, "click": [n % 2 for n in range(2000)]})
    config = {
        **BASE,
        "columns": {"user": {"kind": "categorical", "buckets": 5000, "hash": "murmur3"}},
        "tasks": {"ctr": {"label": "click"}},
        "network": {"kind": "single_task", "hidden": [4], "dim": 2},
        "training": {"epochs": 1},
    }
    model = ncs4cvr.train(config, train=frame, out=tmp_path / "run").model
    of_texts = {1 + murmurhash3_32(text, 0, positive=True) % 5000 for text in texts}
    seen = {int(i) for i in model.embeddings("user").rows} - {0, 5001}
    assert len(seen) > 500 and seen <= of_texts


def test_rates_of_a_model_by_default_are_in_the_graph(tmp_path: pathlib.Path) -> None:
    columns = {name: COLUMNS[name] for name in ("user", "item", "price")}
    table = rows(ROWS, 1)
    assert len(table["user"].unique()) > 100
    # "auto" takes rates of 30,000 training rows or more.
    model = ncs4cvr.train({**BASE, "columns": columns}, train=rows(60_000, 1), out=tmp_path / "run").model
    assert "user.past_ctr" in json.dumps(model.inspect())
    assert check(model, tmp_path / "model.onnx") > 0
    assert list(model.encode(table)) == ["user", "item", "price"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ncs4cvr.Model:
    settings = {"network.kind": "shared_bottom", "features.rates": [{"of": ["user"]}]}
    return train(COLUMNS, settings, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="module")
def exported(trained: ncs4cvr.Model, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert trained.export(path) == [f"{path}.vectors.json", str(path)]
    return path


def test_inputs_are_ids_numbers_and_lists_with_lengths(trained: ncs4cvr.Model, exported: pathlib.Path) -> None:
    inputs = trained.encode(rows(50, 3))
    found = {name: (values.dtype.name, values.ndim) for name, values in inputs.items()}
    number, an_id = ("float64", 1), ("int64", 1)
    assert found == {
        "user": an_id, "item": an_id, "device": an_id, "history": ("int64", 2), "history.lengths": an_id,
        "tags": ("int64", 2), "tags.lengths": an_id, "price": number, "count": number, "age": number, "x": number,
        "gain": number, "same": number,
    }
    session = onnxruntime.InferenceSession(exported)
    assert [put.name for put in session.get_inputs()] == list(found)
    model = onnx.load(exported)
    assert [(put.domain, put.version) for put in model.opset_import] == [("", 17)]
    assert model.metadata_props[0].value == trained.hash


def test_numbers_are_raw_and_nan_where_they_are_missing(trained: ncs4cvr.Model) -> None:
    table = rows(200, 3)
    count = trained.encode(table)["count"]
    printed = table["count"].to_pylist()
    assert [None if np.isnan(x) else x for x in count] == [None if x == -1 else x for x in printed]


def test_numbers_that_mean_missing_are_missing(trained: ncs4cvr.Model, exported: pathlib.Path) -> None:
    inputs = trained.encode(rows(200, 3))
    raw = {**inputs, "count": np.where(np.isnan(inputs["count"]), -1.0, inputs["count"])}
    for name, expected in run(exported, inputs).items():
        assert (run(exported, raw)[name] == expected).all()


def test_what_lies_beyond_a_list_is_ignored(trained: ncs4cvr.Model, exported: pathlib.Path) -> None:
    inputs = trained.encode(rows(200, 3))
    expected = run(exported, inputs)
    beyond = np.arange(inputs["history"].shape[1]) >= inputs["history.lengths"][:, None]
    assert beyond.any()
    longer = np.pad(np.where(beyond, 999_999_999, inputs["history"]), ((0, 0), (0, 3)), constant_values=-5)
    found = run(exported, {**inputs, "history": longer})
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


@pytest.mark.parametrize("longest", [0, 1])
def test_empty_lists_are_the_zero_vector(longest: int, trained: ncs4cvr.Model, exported: pathlib.Path) -> None:
    table = rows(20, 3)
    empty = pa.array([[]] * 20, pa.list_(pa.string()))
    for name in ("history", "tags"):
        table = table.set_column(table.column_names.index(name), name, empty)
    inputs = trained.encode(table)
    assert inputs["tags"].shape == (20, 1)
    inputs = {name: values[:, :longest] if values.ndim == 2 else values for name, values in inputs.items()}
    expected = trained.predict(table)
    for output in trained.outputs:
        np.testing.assert_allclose(run(exported, inputs)[f"p_{output}"], expected[output], atol=TOLERANCE)


def test_an_id_beyond_the_table_is_an_error(trained: ncs4cvr.Model, exported: pathlib.Path) -> None:
    inputs = trained.encode(rows(3, 3))
    with pytest.raises(Exception, match="out of data bounds|out of bounds"):
        run(exported, {**inputs, "user": np.array([1, 2, 5003])})


def test_rows_in_several_batches_are_encoded_as_one(trained: ncs4cvr.Model) -> None:
    table = rows(500, 3)
    pieces = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=64))
    whole, joined = trained.encode(table), trained.encode(pieces)
    for name in whole:
        np.testing.assert_array_equal(joined[name], whole[name])
    with pytest.raises(ncs4cvr.DataError, match="no rows"):
        trained.encode(table.slice(0, 0))


def test_the_vectors_beside_it_hold(trained: ncs4cvr.Model, exported: pathlib.Path) -> None:
    check_vectors(trained, exported)


def test_constants_in_a_second_file(trained: ncs4cvr.Model, exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "large.onnx"
    files = trained._core.export(path, 1000)
    assert [file.name for file in map(pathlib.Path, files)] == [
        "large.onnx.vectors.json", "large.onnx.data", "large.onnx",
    ]
    onnx.checker.check_model(path, full_check=True)
    assert path.stat().st_size < exported.stat().st_size
    inputs = trained.encode(rows(100, 3))
    for name, expected in run(exported, inputs).items():
        assert (run(path, inputs)[name] == expected).all()


def test_rows_that_training_has_not_seen_stay_out(tmp_path: pathlib.Path) -> None:
    columns = {"user": {"kind": "categorical", "buckets": 1_000_000}}
    model = train(columns, {"network.kind": "shared_bottom"}, tmp_path / "run")
    model.export(tmp_path / "model.onnx")
    # Four bytes for each bucket, and the vectors of 300 users.
    assert 4_000_000 < (tmp_path / "model.onnx").stat().st_size < 4_100_000


def test_the_command_writes_the_same_bytes(trained: ncs4cvr.Model, exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    words = [sys.executable, "-m", "ncs4cvr", "export", trained.path, "--format", "onnx", "--out", str(tmp_path / "m.onnx")]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "p_ctr, p_cvr, p_ctcvr" in told and "m.onnx.vectors.json" in told
    assert (tmp_path / "m.onnx").read_bytes() == exported.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.vectors.json"]


def test_what_cannot_be_exported_is_named(tmp_path: pathlib.Path) -> None:
    def refused(columns: dict[str, Any], what: str) -> None:
        model = train(columns, {"network.kind": "shared_bottom"}, tmp_path / next(iter(columns)))
        with pytest.raises(ncs4cvr.ModelError, match=what):
            model.export(tmp_path / "files" / "model.onnx")
        with pytest.raises(ncs4cvr.ModelError, match=what):
            model.encode(rows(3, 3))

    (tmp_path / "files").mkdir()
    refused({"tags": {"kind": "list", "pooling": "padded_mean"}}, '"tags" pools by "padded_mean".*pooling = "mean"')
    refused({"p_ctr": {"kind": "numeric", "column": "x"}}, 'named "p_ctr"; rename the feature')
    assert list((tmp_path / "files").iterdir()) == []


def test_nothing_is_written_into_the_folder_of_a_model(trained: ncs4cvr.Model, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ncs4cvr.NcsError, match="name a file elsewhere"):
        trained.export(pathlib.Path(trained.path) / "model.onnx")
    with pytest.raises(ncs4cvr.NcsError, match="check that its folder exists"):
        trained.export(tmp_path / "absent" / "model.onnx")


def test_the_examples_of_the_page_run(
    trained: ncs4cvr.Model, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pathlib.Path(__file__).resolve().parents[3] / "docs" / "onnx.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "out").symlink_to(pathlib.Path(trained.path).parent)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"ncs4cvr": ncs4cvr, "test": rows(500, 4)}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert (tmp_path / "model.onnx.vectors.json").exists()
