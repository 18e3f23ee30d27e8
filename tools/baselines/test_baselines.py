"""`python -m unittest` in this folder: rows, splits, features, score files, and each model on a small log."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import boosting
import features
import network
import plan
import rows
import scores
from features import Vocabulary
from figures import auc
from rows import Rows

RUN = """
[data]
train = "train.csv"
test = "test.csv"
split = { by = "row", valid = 0.25 }

[columns]
user = "categorical"
item_id = { kind = "categorical", column = "item" }
tags = { kind = "list", separator = "|" }
price = "numeric"
price_value = { kind = "categorical", column = "price" }

[tasks.ctr]
label = "click"

[tasks.cvr]
label = "buy"
where = "ctr"
"""


def made_log(folder: Path, n_rows: int = 4000) -> plan.RunFile:
    """A log whose clicks follow from the user and whose purchases follow from the tags."""
    random = np.random.default_rng(1)
    for name, n in (("train", n_rows), ("test", n_rows // 2)):
        user = random.integers(0, 150, n)
        has_tag = random.random(n) < 0.5
        click = random.random(n) < np.where(user % 2, 0.7, 0.2)
        buy = random.random(n) < np.where(has_tag, 0.8, 0.2)
        table = pd.DataFrame(
            {
                "user": [f"u{one}" for one in user],
                "item": random.integers(0, 20, n),
                "tags": np.where(has_tag, "sale|new", "new"),
                "price": np.where(random.random(n) < 0.1, "", random.normal(size=n).round(3)),
                "click": click.astype(int),
                "buy": np.where(click, buy.astype(int).astype(str), ""),
            }
        )
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "run.toml").write_text(RUN)
    return plan.read_run_file(folder / "run.toml")


class InFolder(unittest.TestCase):
    def setUp(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)


class Plans(InFolder):
    def test_a_run_file_is_read_by_kind(self) -> None:
        run = made_log(self.folder)
        self.assertEqual(
            [(column.name, column.kind, column.source) for column in run.columns],
            [
                ("user", "categorical", "user"),
                ("item_id", "categorical", "item"),
                ("tags", "list", "tags"),
                ("price", "numeric", "price"),
            ],
        )
        self.assertEqual(run.tasks[1], plan.Task("cvr", "buy", "ctr"))
        self.assertEqual(run.files("test"), [self.folder / "test.csv"])
        with self.assertRaisesRegex(ValueError, "column x: the baselines know no kind 'rate'"):
            plan.column("x", "rate")

    def test_the_shipped_comparison_names_run_files_that_can_be_read(self) -> None:
        comparison = plan.read_comparison(plan.COMPARISON)
        self.assertEqual(len(comparison.seeds), 5)
        for data in comparison.data.values():
            run = plan.read_run_file(data.run)
            later = {"long_read", "read_seconds", "watch_ratio", "complete", "like", "conversion"}
            self.assertFalse(later & {column.source for column in run.columns}, data.name)

    def test_a_synthetic_log_is_made_by_its_settings(self) -> None:
        self.assertEqual(
            plan.synth_arguments({"click_rate": 0.1, "arriving": True, "old": False}),
            ["--click-rate", "0.1", "--arriving"],
        )


class Reading(InFolder):
    def test_labels_count_where_they_are_known(self) -> None:
        parts = rows.read(made_log(self.folder))
        test = parts.test
        self.assertEqual(len(test), 2000)
        self.assertTrue(np.isnan(test.labels["cvr"][test.labels["ctr"] == 0]).all())
        self.assertFalse(np.isnan(test.labels["cvr"][test.labels["ctr"] == 1]).any())
        self.assertEqual(len(parts.train) + len(parts.valid), 4000)
        self.assertAlmostEqual(len(parts.valid) / 4000, 0.25, delta=0.03)

    def test_places_are_those_of_ncs(self) -> None:
        # The first rows of seed 1, and a text and a number under seed 7: as crates/readers has them.
        table = pd.DataFrame({"user": ["user_1527", "12", ""]})
        place = lambda name, seed: (rows.xxhash.xxh3_64_intdigest(name, seed) >> 11) / 2**53
        self.assertEqual(rows.xxhash.xxh3_64_intdigest(b"user_1527", 7), 0x71B9F7BDF3AEF1D6)
        by_row = rows.places({"by": "row"}, table)
        self.assertEqual(by_row[2], place(b"\2\0\0\0\0\0\0\0", 1))
        by_hash = rows.places({"by": "hash", "column": "user", "seed": 7}, table)
        self.assertEqual(by_hash[0], place(b"user_1527", 7))
        self.assertEqual(by_hash[2], place(b"\2\0\0\0\0\0\0\0", 7), "a row without a value")

    def test_time_cuts_where_it_says(self) -> None:
        moments = pd.to_datetime(["2023-05-24 12:59", "2023-05-24 13:00", "2023-05-25 00:00"])
        run = plan.RunFile(
            self.folder,
            {"split": {"by": "time", "column": "t", "valid_from": 1_684_933_200_000_000}},
            (),
            (),
        )
        test, valid = rows.divided(run, pd.DataFrame({"t": moments}))
        self.assertEqual(valid.tolist(), [False, True, True])
        self.assertFalse(test.any())

    def test_shares_of_time_begin_where_rows_do(self) -> None:
        split = {"by": "time", "column": "t", "valid": 0.3, "test": 0.2}
        run = plan.RunFile(self.folder, {"split": split}, (), ())
        table = pd.DataFrame({"t": [5.0, 1.0, 2.0, 3.0, 4.0, 4.0, 1.0, 1.0, 2.0, 5.0]})
        test, valid = rows.divided(run, table)
        self.assertEqual(table["t"][test].tolist(), [5.0, 5.0])
        self.assertEqual(sorted(table["t"][valid]), [3.0, 4.0, 4.0])

    def test_without_a_split_the_last_tenth_validates(self) -> None:
        run = plan.RunFile(self.folder, {}, (), ())
        _, valid = rows.divided(run, pd.DataFrame({"x": range(20)}))
        self.assertEqual(valid.tolist(), [False] * 18 + [True] * 2)


class Features(unittest.TestCase):
    def test_unknown_values_are_0(self) -> None:
        vocabulary = Vocabulary.of(pd.Series(["b", "a", "b", None]))
        self.assertEqual(vocabulary.encode(pd.Series(["a", "b", "c", None])).tolist(), [2, 1, 0, 0])

    def test_lists_are_their_length_and_their_frequent_values(self) -> None:
        lists = pd.Series([["x", "y"], [], ["x"], None])
        vocabulary = Vocabulary.of(features.flat(lists))
        found = features.list_columns(vocabulary, lists)
        self.assertEqual(found.tolist(), [[2, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 0]])

    def test_past_rates_are_of_strictly_earlier_rows(self) -> None:
        ids = np.array([1, 2, 1, 1, 1])
        labels = np.array([1.0, 1.0, 0.0, np.nan, 1.0])
        moments = np.array([0.0, 0.0, 1.0, 2.0, 2.0])
        positives, counts = features.earlier(ids, labels, moments)
        self.assertEqual(counts.tolist(), [0, 0, 1, 2, 2])
        self.assertEqual(positives.tolist(), [0, 0, 1, 1, 1])

    def test_a_label_says_nothing_of_its_own_row(self) -> None:
        random = np.random.default_rng(3)
        ids, labels = random.integers(0, 50, 500), (random.random(500) < 0.3).astype(float)
        moments = random.permutation(500).astype(float)
        before = features.earlier(ids, labels, moments)
        for row in (0, 17, 499):
            flipped = labels.copy()
            flipped[row] = 1 - flipped[row]
            after = features.earlier(ids, flipped, moments)
            later = moments > moments[row]
            self.assertTrue(((before[0] == after[0]) | later).all())

    def test_later_rows_see_the_final_state(self) -> None:
        ids, labels = np.array([1, 1, 2]), np.array([1.0, 0.0, np.nan])
        state = features.PastRates.of(ids, labels, 4)
        rate, count = state.later(np.array([1, 3])).T
        self.assertAlmostEqual(rate[0], (1 + 20 * 0.5) / 22)
        np.testing.assert_allclose(rate[1], 0.5)
        np.testing.assert_allclose(count, [np.log(3), 0], rtol=1e-6)


class Figures(unittest.TestCase):
    def test_auc_by_hand(self) -> None:
        labels = np.array([1.0, 0.0, np.nan, 1.0, 0.0])
        self.assertEqual(auc(labels, np.array([0.9, 0.5, 0.7, 0.5, 0.1])), 0.875)
        self.assertEqual(auc(labels, np.full(5, 0.3)), 0.5)
        self.assertTrue(np.isnan(auc(np.ones(2), np.array([0.1, 0.2]))))


class Models(InFolder):
    def check(self, found: dict, test: Rows) -> None:
        self.assertEqual(list(found), ["ctr", "cvr"])
        for task, probabilities in found.items():
            self.assertEqual(len(probabilities), len(test))
            self.assertTrue(((0 < probabilities) & (probabilities < 1)).all())
            self.assertGreater(auc(test.labels[task], probabilities), 0.65, task)

    def test_lightgbm_learns(self) -> None:
        # It looks at no category of fewer than 100 rows.
        run = made_log(self.folder, 24_000)
        parts = rows.read(run)
        for past_rates in (False, True):
            found = boosting.predict(run, parts, 1, with_item=True, past_rates=past_rates)
            self.check(found, parts.test)

    def test_pytorch_learns_and_repeats(self) -> None:
        run = made_log(self.folder, 8000)
        parts = rows.read(run)
        found = network.predict(run, parts, 1)
        self.check(found, parts.test)
        again = network.predict(run, parts, 1)
        np.testing.assert_array_equal(found["ctr"], again["ctr"])

    def test_lists_of_a_batch_are_those_of_its_rows(self) -> None:
        ids, starts = network.torch.tensor([5, 6, 7, 8]), network.torch.tensor([0, 2, 2, 4])
        chosen, new_starts = network.chosen(ids, starts, network.torch.tensor([2, 1, 0]))
        self.assertEqual(chosen.tolist(), [7, 8, 5, 6])
        self.assertEqual(new_starts.tolist(), [0, 2, 2, 4])


class ScoreFiles(InFolder):
    def test_a_file_holds_rows_scores_labels_and_cost(self) -> None:
        test = Rows({}, {"ctr": np.array([1.0, 0.0]), "cvr": np.array([1.0, np.nan])}, None)
        path = self.folder / "data" / "m-3.parquet"
        scores.write(path, test, {"ctr": np.array([0.5, 0.25]), "cvr": np.ones(2)}, 3, 1.5)
        self.assertEqual(
            pq.read_table(path).to_pylist()[1],
            {
                "row": 1,
                "p_ctr": 0.25,
                "y_ctr": 0.0,
                "p_cvr": 1.0,
                "y_cvr": None,
                "seed": 3,
                "cpu_seconds": 1.5,
            },
        )
        self.assertEqual([one.name for one in path.parent.iterdir()], [path.name])


if __name__ == "__main__":
    unittest.main()
