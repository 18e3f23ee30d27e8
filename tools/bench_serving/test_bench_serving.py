"""`python3 -m unittest` in this folder; needs neither the peer nor our programs."""

from __future__ import annotations

import math
import sys
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

import latencies  # noqa: E402
import points  # noqa: E402
import queueing  # noqa: E402
import serving_tables  # noqa: E402
from server import addresses, on_core  # noqa: E402

FIGURES = {"p99_ms": 2.0, "p999_ms": 3.0, "max_ms": 4.0, "cpu_ms": 1.0, "n": 100}


def made_up(scorer_ms: float, onnx_ms: float, server_ms: float) -> list[dict]:
    """The same three costs at every point."""
    records = [
        {
            **FIGURES,
            "what": "score",
            "engine": point.engine,
            "values": point.values,
            "threads": point.threads,
            "together": point.together,
            "median_ms": scorer_ms if point.engine == "ours" else onnx_ms,
            "per_s": point.threads * 1e3 / (scorer_ms if point.engine == "ours" else onnx_ms),
        }
        for point in points.scorings()
    ]
    for serving in points.servings(can_pin=True):
        for load in points.loads(serving):
            records.append(loaded(serving, load.wire, load.values, load.connections, server_ms))
    for wire in points.OPEN_WIRES:
        one = loaded(points.Serving(2, False), wire, points.OPEN_FORM, 64, server_ms)
        records.append({**one, "rate": 400.0, "errors": {"503": 2}, "sent_late_p99_ms": 0.01})
    return records


def loaded(
    serving: points.Serving, wire: str, values: str, connections: int, median_ms: float
) -> dict:
    """A record of `serving_cost load`."""
    return {
        **FIGURES,
        "what": "load",
        "wire": wire,
        "values": values,
        "threads": serving.threads,
        "pinned": serving.pinned,
        "connections": connections,
        "rate": None,
        "errors": {},
        "median_ms": median_ms,
        "per_s": 1e3 / median_ms,
        "server_cpu_ms": 1.5,
        "client_cpu_ms": 0.05,
    }


class Latencies(unittest.TestCase):
    def test_percentiles_are_values_that_were_measured(self) -> None:
        hundred = [float(i) for i in range(1, 101)]
        self.assertEqual(latencies.percentile(hundred, 0.5), 50)
        self.assertEqual(latencies.percentile(hundred, 0.99), 99)
        self.assertEqual(latencies.percentile(hundred, 0.999), 100)
        self.assertEqual(latencies.percentile([7.0], 0.01), 7)
        self.assertTrue(math.isnan(latencies.percentile([], 0.5)))

    def test_a_summary_is_in_milliseconds(self) -> None:
        found = latencies.summary([0.003, 0.001, 0.002], wall=0.5)
        self.assertEqual((found["median_ms"], found["max_ms"], found["per_s"]), (2.0, 3.0, 6.0))


class Tables(unittest.TestCase):
    def test_ratios_are_to_the_better_way_of_onnx_runtime(self) -> None:
        records = made_up(1.0, 10.0, 1.2)
        self.assertAlmostEqual(serving_tables.scorer_ratio(1)(records), 10)
        slower = [r | {"per_s": 1.0} if r.get("together") == 1 else r for r in records]
        self.assertAlmostEqual(serving_tables.scorer_ratio(2)(slower), 10)

    def test_cpu_time_is_compared_at_one_thread(self) -> None:
        records = [
            r | {"cpu_ms": 6.0} if r.get("engine") == "onnxruntime" else r
            for r in made_up(1.0, 10.0, 1.2)
        ]
        self.assertAlmostEqual(serving_tables.cpu_ratio(records), 6)
        self.assertIsNone(serving_tables.cpu_ratio([]))

    def test_what_the_server_adds_is_the_difference_of_medians(self) -> None:
        records = made_up(1.0, 10.0, 1.2)
        shared = points.Serving(1, pinned=False)
        added = serving_tables.added(records, shared, "rank-json", "strings")
        self.assertAlmostEqual(added, 0.2)
        self.assertIsNone(serving_tables.added([], shared, "rank-json", "strings"))

    def test_errors_of_the_open_loop_are_counted(self) -> None:
        found = serving_tables.open_loop(made_up(1, 10, 1.2), "rank-json")
        self.assertEqual(serving_tables.n_errors(found), 2)
        self.assertIsNone(serving_tables.n_errors([]))

    def test_every_table_is_whole_with_all_records_and_with_none(self) -> None:
        for records in (made_up(1.0, 10.0, 1.2), []):
            for name, body in serving_tables.blocks(records, {}, "run.py").items():
                lines = [line for line in body.splitlines() if line.startswith("|")]
                widths = {line.count("|") for line in lines}
                self.assertLessEqual(len(widths), 1, name)

    def test_targets_say_whether_they_are_met(self) -> None:
        table = serving_tables.targets_table(made_up(1.0, 10.0, 1.2))
        self.assertIn("| scorer over ONNX Runtime, requests/s, 1 thread | at least 8x | 10x | met |", table)
        self.assertIn("rank, JSON, HTTP, strings | under 0.3 ms | 0.2 ms | met |", table)
        self.assertIn("errors | under 1 | 2 | missed |", table)


class Servers(unittest.TestCase):
    def test_the_ready_line_says_where(self) -> None:
        line = "ready http=127.0.0.1:1 grpc=127.0.0.1:2 admin=127.0.0.1:3\n"
        self.assertEqual(addresses(line), ("127.0.0.1:1", "127.0.0.1:2"))
        with self.assertRaisesRegex(ValueError, "did not get ready"):
            addresses("")

    def test_a_command_may_be_kept_on_a_core(self) -> None:
        self.assertEqual(on_core(["x"], None), ["x"])
        self.assertEqual(on_core(["x"], 1), ["taskset", "-c", "1", "x"])


class Queueing(unittest.TestCase):
    def test_the_mean_wait_of_one_server_is_that_of_pollaczek_and_khinchine(self) -> None:
        for utilisation in (0.3, 0.6):
            spent = queueing.times(1, utilisation, 100_000)
            wait = sum(spent) / len(spent) - 1
            self.assertAlmostEqual(wait, utilisation / (2 * (1 - utilisation)), delta=0.04)

    def test_idle_servers_never_wait(self) -> None:
        self.assertAlmostEqual(max(queueing.times(50, 0.1, 10_000)), 1.0)


if __name__ == "__main__":
    unittest.main()
