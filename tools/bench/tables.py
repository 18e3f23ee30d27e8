"""The tables of docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plan
from figures import Figure, Results, ratio
from plan import step_name

MISSING = "-"


# ---- the targets


@dataclass(frozen=True)
class Target:
    """One number that must be at least, or at most, so much."""

    what: str
    goal: float
    unit: str
    at_least: bool
    measure: Callable[[Results], float | None]

    def row(self, results: Results) -> list[str]:
        """Target, goal, measured, met or missed."""
        sign = "at least" if self.at_least else "under"
        value = self.measure(results)
        goal = f"{sign} {self.goal:g}{self.unit}"
        measured = MISSING if value is None else f"{value:.3g}{self.unit}"
        return [self.what, goal, measured, self.verdict(value)]

    def verdict(self, value: float | None) -> str:
        """In a word."""
        if value is None:
            return "not measured"
        met = value >= self.goal if self.at_least else value < self.goal
        return "met" if met else "missed"


def step_ratio(density: float) -> Callable[[Results], float | None]:
    """PyTorch's step to ours. PyTorch's time is the same for all densities: measured at one."""
    return lambda results: ratio(
        results.peer(step_name(), "pytorch"), results.ours(step_name(density=density))
    )


def score_ratio(candidates: int) -> Callable[[Results], float | None]:
    """ONNX Runtime's time to ours."""
    return lambda results: ratio(
        results.peer("score", "onnxruntime", candidates=candidates),
        results.ours("score", candidates=candidates),
    )


def search_ratio(results: Results) -> float | None:
    """PyTorch's search to ours."""
    return ratio(results.peer("search", "pytorch"), results.ours("search"))


def thread_ratio(results: Results) -> float | None:
    """Our wall time at one thread to that at two."""
    one = results.ours(step_name(), "wall_ms")
    return ratio(one, results.ours(step_name(threads=2), "wall_ms"))


def reading_share(results: Results) -> float | None:
    """What reading and encoding add to the time of training, percent."""
    share = results.ours("read", "reading_share")
    return share and share.median * 100


def memory_ratio(results: Results) -> float | None:
    """Peak memory to what tables and moments of touched rows need."""
    return ratio(results.ours("memory", "peak_rss_mb"), results.ours("memory", "needed_mb"))


# Grouped as the seven rows that were promised.
TARGETS: tuple[tuple[Target, ...], ...] = (
    (
        Target("joint step, density 0.3", 6, "x", True, step_ratio(0.3)),
        Target("joint step, density 0.2", 8, "x", True, step_ratio(0.2)),
    ),
    (Target("mask search, five rounds to 0.2, both tasks", 6, "x", True, search_ratio),),
    (Target("wall time, 2 threads over 1, ours", 1.85, "x", True, thread_ratio),),
    (Target("scoring 1 x 500, density 0.2", 8, "x", True, score_ratio(500)),),
    (
        Target("scoring 1 x 64, density 0.2", 8, "x", True, score_ratio(64)),
        Target("scoring 1 x 1, density 0.2", 1, "x", True, score_ratio(1)),
    ),
    (Target("reading Parquet, beside the step, 2 threads", 10, " %", False, reading_share),),
    (Target("peak memory over need, 10M x 16", 1.15, "x", False, memory_ratio),),
)


def targets_table(results: Results, machine: dict[str, str]) -> str:
    """The seven targets, one row each: what, goal, measured, met or missed."""
    rows = []
    for number, group in enumerate(TARGETS, start=1):
        cells = zip(*(target.row(results) for target in group))
        rows.append([str(number), *(join(parts) for parts in cells)])
    table = markdown(["", "target", "goal", "measured", "met or missed"], rows)
    return f"{table}\n\n1 and 2 are CPU time {handicap(machine)}; 4 and 5 against ONNX Runtime, CPU time too."


def join(parts: Sequence[str]) -> str:
    """Equal parts once, others beside each other."""
    return parts[0] if len(set(parts)) == 1 else " / ".join(parts)


def handicap(machine: dict[str, str]) -> str:
    """What must stand beside every ratio to PyTorch."""
    blas = machine.get("torch_blas", "its own library")
    if blas == "MKL" and machine.get("vendor") == "AuthenticAMD":
        return "against PyTorch on MKL, which is slow on this vendor (AMD)"
    return f"against PyTorch on {blas}"


# ---- the parts


def machine_lines(results: Results, machine: dict[str, str], command: str) -> str:
    """The machine, the versions, the command, and how busy the machine was."""
    parts = [
        f"{machine.get('cpu', '?')} (family/model {machine.get('family_and_model', '?')})",
        f"{machine.get('cpus', '?')} CPUs",
        machine.get("caches", ""),
        machine.get("simd", ""),
        f"{machine.get('memory', '?')} of memory",
        machine.get("rustc", ""),
        f"PyTorch {machine.get('torch', '?')} ({machine.get('torch_blas', '?')}, "
        f"{machine.get('torch_simd', '?')})",
        f"ONNX Runtime {machine.get('onnxruntime', '?')}",
    ]
    listed = ", ".join(part for part in parts if part)
    waiting = results.waiting()
    busy = "" if waiting is None else f" Runs at one thread waited {waiting:.0%} of their time."
    return (
        f"{listed}.\n\nMade by `{command}` (ours built with the release profile): medians of the "
        f"repetitions ({machine.get('repetitions', '?')}), ± half the range between them where there are "
        f"several.{busy}"
    )


def step_table(results: Results, machine: dict[str, str]) -> str:
    """Joint step, search: milliseconds."""
    rows = [
        step_row(f"joint step, density {density:g}", results, density)
        for density in plan.DENSITIES
        if results.ours(step_name(density=density)) or density == plan.DENSITY
    ]
    rows.append(
        comparison_row(
            "joint step, density 0.2, 2 threads (wall time)",
            results.ours(step_name(threads=2), "wall_ms"),
            results.peer(step_name(threads=2), "pytorch", "wall_ms"),
        )
    )
    search = results.ours("search"), results.peer("search", "pytorch")
    rows.append(comparison_row("mask search, 250 steps a level, 12 levels", *search))
    header = ["CPU time", "ours, ms", "PyTorch, ms", f"ratio {handicap(machine)}"]
    return markdown(header, rows)


def step_row(name: str, results: Results, density: float) -> list[str]:
    """One density; PyTorch's time is that of the one density it was measured at."""
    ours = results.ours(step_name(density=density))
    return comparison_row(name, ours, results.peer(step_name(), "pytorch"))


def comparison_row(name: str, ours: Figure | None, peer: Figure | None) -> list[str]:
    """Ours, peer, ratio."""
    return [name, shown(ours), shown(peer), times(ratio(peer, ours))]


def variants_table(results: Results, machine: dict[str, str]) -> str:
    """The step at the usual density in all ways of PyTorch, each beside ours."""
    ours = results.ours(step_name())
    rows = []
    for variant in plan.VARIANTS:
        peer = results.peer("variants", "pytorch", variant=variant)
        rows.append([variant, shown(peer), times(ratio(peer, ours))])
    header = ["PyTorch, joint step, density 0.2, CPU time", "ms", f"over ours ({handicap(machine)})"]
    return markdown(header, rows)


def score_table(results: Results, machine: dict[str, str]) -> str:
    """Scoring: CPU microseconds a request."""
    rows = []
    for candidates in sorted(plan.CANDIDATES, reverse=True):
        ours = results.ours("score", candidates=candidates)
        onnx = results.peer("score", "onnxruntime", candidates=candidates)
        torch = results.peer("score", "pytorch", candidates=candidates)
        figures = [shown(f, 1e3) for f in (ours, onnx, torch)]
        rows.append([str(candidates), *figures, times(ratio(onnx, ours)), times(ratio(torch, ours))])
    header = ["candidates", "ours, µs", "ONNX Runtime, µs", "PyTorch, µs"]
    return markdown(header + ["ratio to ONNX Runtime", f"ratio {handicap(machine)}"], rows)


def growth_table(results: Results, machine: dict[str, str]) -> str:
    """How a step grows with batch, width and table, at density 0.2; the picture beside it."""
    rows = []
    series = [("batch", plan.BATCHES), ("width", plan.WIDTHS), ("table_rows", plan.TABLE_ROWS)]
    for what, values in series:
        for value in values:
            name = step_name(**{what: value})
            ours, peer = results.ours(name), results.peer(name, "pytorch")
            if ours or peer:
                rows.append(comparison_row(f"{what.replace('_', ' ')} {short(value)}", ours, peer))
    header = ["joint step, density 0.2", "ours, ms", "PyTorch, ms", f"ratio {handicap(machine)}"]
    picture = "![Time per row against density, batch, width and table rows](performance.svg)"
    return f"{markdown(header, rows)}\n\n{picture}"


# ---- text


def shown(figure: Figure | None, scale: float = 1.0) -> str:
    """Three digits and the spread."""
    if figure is None:
        return MISSING
    half = figure.spread / 2
    spread = f" ± {half:.0%}" if figure.n > 1 else ""
    return f"{digits(figure.median * scale)}{spread}"


def digits(value: float) -> str:
    """At least three significant digits, thousands apart, never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(value: float | None) -> str:
    """A ratio."""
    return MISSING if value is None else f"{value:.2f}x"


def short(value: int) -> str:
    """10000000 as 10M."""
    if value >= 1_000_000 and value % 1_000_000 == 0:
        return f"{value // 1_000_000}M"
    return str(value)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def replace_block(text: str, name: str, body: str) -> str:
    """Replaces what stands between the two markers of this name.

    Raises ValueError where the text has not both.
    """
    begin, end = f"<!-- bench:begin {name} -->", f"<!-- bench:end {name} -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"no `{begin}` ... `{end}` in the document; put the two lines back")
    return f"{before}{begin}\n{body}\n{end}{after}"
