"""`python3 -m unittest` in this folder; needs none of the peers."""

from __future__ import annotations

import unittest
import xml.etree.ElementTree as ET

import alone
import growth
import machine
import picture
import plan
import tables
from figures import Figure, Results, figure, pick, ratio
from plan import step_name

AMD = {"vendor": "AuthenticAMD", "torch_blas": "MKL", "torch": "2.15.0+cpu"}


def made_up(ours_ms: float, peer_ms: float) -> Results:
    """The same two costs at every point."""
    found = {}
    for point in plan.points(quick=False):
        cost = {"wall_ms": 2 * ours_ms, "cpu_ms": ours_ms, "threads": 1}
        ours = [
            {**cost, "candidates": c, "reading_share": 0.05, "peak_rss_mb": 11, "needed_mb": 10}
            for c in plan.CANDIDATES
        ]
        engines = ("pytorch", "onnxruntime")
        peer = [
            {**cost, "cpu_ms": peer_ms, "engine": engine, "candidates": c}
            for c in plan.CANDIDATES
            for engine in engines
        ]
        found[point.name] = {"ours": ours, "peer": peer if point.has_peer else []}
    return Results(found)


class OneThreadAlone(unittest.TestCase):
    """Samples of two threads."""

    def test_a_thread_is_alone_where_no_other_works(self) -> None:
        text = """
              7     1.000000:      7f00a1 first
              8     1.000100:      7f00a2 second
              7     1.002000:      7f00a3 third
              8     1.002000:      7f00a4 rayon_core::registry::WorkerThread::wait
        """
        threads = alone.by_thread(text)
        self.assertEqual(alone.alone(threads), {"third": 1})
        self.assertEqual(alone.report(threads).splitlines(), ["one thread alone: 50.0% of the time", " 50.00%  third"])


class Figures(unittest.TestCase):
    def test_median_and_spread(self) -> None:
        self.assertEqual(figure([3, 1, 2]), Figure(2, 1, 3, 3))
        self.assertEqual(figure([4.0, 8.0, 6.0]).spread, 4 / 6)
        self.assertIsNone(figure([]))

    def test_pick_takes_the_records_that_match_and_have_the_field(self) -> None:
        records = [{"a": 1, "x": 5}, {"a": 1, "x": 7}, {"a": 2, "x": 100}, {"a": 1, "x": None}]
        self.assertEqual(pick(records, "x", a=1), Figure(6, 5, 7, 2))
        self.assertIsNone(pick(records, "x", a=3))

    def test_ratio_is_of_medians(self) -> None:
        self.assertEqual(ratio(figure([8]), figure([2])), 4)
        self.assertIsNone(ratio(None, figure([2])))
        self.assertIsNone(ratio(figure([8]), figure([0])))

    def test_waiting_is_wall_time_without_cpu_time(self) -> None:
        record = {"cpu_ms": 3.0, "wall_ms": 4.0}
        one = {"ours": [{**record, "threads": 1}, {**record, "threads": 2, "wall_ms": 30.0}]}
        self.assertEqual(Results({"step": one}).waiting(), 0.25)
        self.assertIsNone(Results({}).waiting())


class Plan(unittest.TestCase):
    def test_every_point_is_measured_once(self) -> None:
        for quick in (True, False):
            names = [point.name for point in plan.points(quick)]
            self.assertEqual(len(names), len(set(names)))
            self.assertIn(step_name(), names)

    def test_the_targets_have_their_points(self) -> None:
        names = {point.name: point for point in plan.points(quick=True)}
        self.assertTrue(names[step_name()].has_peer)
        for name in (step_name(density=0.3), step_name(threads=2), "search", "score", "read"):
            self.assertIn(name, names)


class Tables(unittest.TestCase):
    def test_markdown(self) -> None:
        table = tables.markdown(["a", "b"], [["1", "2"]])
        self.assertEqual(table, "| a | b |\n| --- | --- |\n| 1 | 2 |")

    def test_digits(self) -> None:
        for value, expected in [(1234.5, "1,234"), (99.94, "99.9"), (0.0763, "0.08")]:
            self.assertEqual(tables.digits(value), expected)

    def test_seven_targets(self) -> None:
        table = tables.targets_table(made_up(10, 70), AMD)
        rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
        verdicts = [row.split(" | ")[-1].removesuffix(" |") for row in rows]
        expected = ["met / missed", "met", "missed", "missed", "missed / met", "met", "met"]
        self.assertEqual(verdicts, expected)
        self.assertIn("slow on this vendor", table)

    def test_what_was_not_measured_says_so(self) -> None:
        table = tables.targets_table(Results({}), {})
        self.assertEqual(table.count("not measured"), 7)

    def test_every_ratio_to_pytorch_names_the_handicap(self) -> None:
        results = made_up(10, 70)
        for table in (tables.step_table, tables.score_table, tables.growth_table):
            self.assertIn("MKL, which is slow on this vendor (AMD)", table(results, AMD))
        intel = {**AMD, "vendor": "GenuineIntel"}
        self.assertEqual(tables.handicap(intel), "against PyTorch on MKL")

    def test_replace_block(self) -> None:
        text = "a\n<!-- bench:begin x -->\nold\n<!-- bench:end x -->\nb\n"
        new = tables.replace_block(text, "x", "new")
        self.assertEqual(new, text.replace("old", "new"))
        self.assertEqual(tables.replace_block(new, "x", "new"), new)
        with self.assertRaisesRegex(ValueError, "bench:begin y"):
            tables.replace_block(text, "y", "new")


class Picture(unittest.TestCase):
    def test_the_picture_is_xml_with_four_charts(self) -> None:
        root = ET.fromstring(growth.draw(made_up(10, 70), AMD))
        charts = root.findall("{http://www.w3.org/2000/svg}g")
        self.assertEqual(len(charts), 4)
        lines = [len(chart.findall("{http://www.w3.org/2000/svg}polyline")) for chart in charts]
        self.assertEqual(lines, [2, 2, 2, 2])

    def test_a_picture_of_nothing_is_xml_too(self) -> None:
        ET.fromstring(growth.draw(Results({}), {"torch": "<2>", "torch_blas": "a & b"}))

    def test_axis_steps_are_nice(self) -> None:
        for highest, expected in [(9, 2), (10, 2), (62.5, 20), (0.3, 0.1)]:
            self.assertAlmostEqual(picture.nice_step(highest), expected)

    def test_values_lie_inside_the_chart(self) -> None:
        axes = picture.Axes(x_low=0.05, x_high=1, y_high=80, x_falls=True)
        self.assertEqual(axes.x(1), picture.LEFT)
        self.assertEqual(axes.x(0.05), picture.WIDTH - picture.RIGHT)
        self.assertEqual(axes.y(80), picture.TOP)
        self.assertEqual(axes.y(0), picture.HEIGHT - picture.BOTTOM)


class Machine(unittest.TestCase):
    def test_lscpu(self) -> None:
        text = "Model name:      A CPU\n  L2 cache:  1 MiB (2 instances)\nno value\n"
        parsed = machine.parse_lscpu(text)
        self.assertEqual(parsed, {"Model name": "A CPU", "L2 cache": "1 MiB (2 instances)"})

    def test_memory(self) -> None:
        text = "MemTotal:  100 kB\nMemAvailable:   42 kB\n"
        self.assertEqual(machine.memory_kb("MemAvailable", text), 42)
        self.assertEqual(machine.memory_kb("SwapTotal", text), 0)


if __name__ == "__main__":
    unittest.main()
