"""The tables of docs/performance_serving.md, from the records of one sitting."""

from __future__ import annotations

from collections.abc import Callable

import points
from figures import Figure, Record, pick, ratio
from tables import MISSING, Target, markdown, shown, times

Records = list[Record]
Measure = Callable[[Records], float | None]

NAMES = {
    "rank-json": "rank, JSON, HTTP",
    "infer-http": "infer, binary tensors, HTTP",
    "rank-grpc": "rank, protobuf, gRPC",
    "infer-grpc": "infer, raw tensors, gRPC",
}


# ---- figures


def scorer(records: Records, field: str, threads: int, values: str) -> Figure | None:
    """Ours in process."""
    return pick(records, field, what="score", engine="ours", threads=threads, values=values)


def onnx(records: Records, field: str, threads: int, together: int) -> Figure | None:
    """ONNX Runtime in process."""
    wanted = {"engine": "onnxruntime", "threads": threads, "together": together}
    return pick(records, field, what="score", **wanted)


def best_onnx_per_s(records: Records, threads: int) -> Figure | None:
    """ONNX Runtime's requests a second, the threads used as suits it best."""
    both = [onnx(records, "per_s", threads, together) for together in (1, threads)]
    found = [figure for figure in both if figure]
    return max(found, key=lambda figure: figure.median, default=None)


def served(
    records: Records, field: str, serving: points.Serving, wire: str, values: str, connections: int
) -> Figure | None:
    """Through the server, callers as fast as they are answered."""
    where = {"threads": serving.threads, "pinned": serving.pinned}
    how = {"wire": wire, "values": values, "connections": connections}
    return pick(records, field, what="load", rate=None, **where, **how)


def added(records: Records, serving: points.Serving, wire: str, values: str) -> float | None:
    """What the server adds to the scorer's median, milliseconds; one request at a time."""
    whole = served(records, "median_ms", serving, wire, values, 1)
    alone = scorer(records, "median_ms", 1, values)
    return None if whole is None or alone is None else whole.median - alone.median


def open_loop(records: Records, wire: str) -> Records:
    """Those at half of what the server can."""
    return [r for r in records if r.get("what") == "load" and r.get("rate") and r["wire"] == wire]


def n_errors(records: Records) -> int | None:
    """Of all records together."""
    if not records:
        return None
    return sum(sum(record["errors"].values()) for record in records)


# ---- tables


def targets_table(records: Records) -> str:
    """What was promised, and whether it is so."""
    return markdown(
        ["target", "goal", "measured", "met or missed"],
        [target.row(records) for target in targets()],
    )


def targets() -> list[Target]:
    """All promises."""
    shared = points.Serving(1, pinned=False)
    found = [
        Target(f"scorer over ONNX Runtime, requests/s, {n}", 8, "x", True, scorer_ratio(threads))
        for threads, n in ((1, "1 thread"), (2, "2 threads"))
    ]
    found.append(Target("the same in CPU time, 1 thread", 8, "x", True, cpu_ratio))
    found += [
        Target(f"the server adds at the median, {NAMES[wire]}, {form}", 0.3, " ms", False, adds)
        for wire in points.WIRES
        for form in points.FORMS
        for adds in [adds_measure(shared, wire, form)]
    ]
    for wire in points.OPEN_WIRES:
        name = f"half capacity, Poisson, {NAMES[wire]}"
        found.append(Target(f"{name}: errors", 1, "", False, errors_measure(wire)))
        found.append(Target(f"{name}: p99 over median", 3, "x", False, tail_measure(wire)))
    return found


def scorer_ratio(threads: int) -> Measure:
    """Requests a second of ours on ids to those of ONNX Runtime."""
    return lambda records: ratio(
        scorer(records, "per_s", threads, "ids"), best_onnx_per_s(records, threads)
    )


def cpu_ratio(records: Records) -> float | None:
    """CPU time of ONNX Runtime to ours, on ids, at one thread: what is left of the comparison where others
    use the machine."""
    return ratio(onnx(records, "cpu_ms", 1, 1), scorer(records, "cpu_ms", 1, "ids"))


def adds_measure(serving: points.Serving, wire: str, values: str) -> Measure:
    """See `added`."""
    return lambda records: added(records, serving, wire, values)


def errors_measure(wire: str) -> Measure:
    """Errors at half capacity."""
    return lambda records: n_errors(open_loop(records, wire))


def tail_measure(wire: str) -> Measure:
    """The 99th percentile to the median at half capacity."""

    def measure(records: Records) -> float | None:
        found = open_loop(records, wire)
        return ratio(pick(found, "p99_ms"), pick(found, "median_ms"))

    return measure


def scorer_table(records: Records) -> str:
    """In process: ours beside ONNX Runtime."""
    rows = []
    for threads in points.THREADS:
        for values in ("ids", "integers", "strings"):
            ours = scorer(records, "per_s", threads, values)
            over = ratio(ours, best_onnx_per_s(records, threads))
            cells = figures_of(lambda field: scorer(records, field, threads, values))
            rows.append([f"scorer, {values}", str(threads), *cells, times(over)])
        for together in dict.fromkeys((1, threads)):
            cells = figures_of(lambda field: onnx(records, field, threads, together))
            how = "" if threads == 1 else (", one request" if together == 1 else ", one request each")
            rows.append([f"ONNX Runtime, ids{how}", str(threads), *cells, ""])
    header = ["", "threads", "median, ms", "p99, ms", "requests/s", "CPU, ms a request"]
    return markdown([*header, "requests/s over ONNX Runtime's best"], rows)


def figures_of(of: Callable[[str], Figure | None]) -> list[str]:
    """The columns of the scorer's table."""
    return [shown(of(field)) for field in ("median_ms", "p99_ms", "per_s", "cpu_ms")]


def server_table(records: Records, serving: points.Serving) -> str:
    """Every wire and form: latency of one caller, throughput of several."""
    many = points.throughput_connections(serving.threads)
    rows = []
    for wire in points.WIRES:
        for values in points.FORMS:
            of = lambda field, n: served(records, field, serving, wire, values, n)
            plus = added(records, serving, wire, values)
            share = ratio(of("per_s", many), scorer(records, "per_s", serving.threads, values))
            one = [shown(of(field, 1)) for field in ("median_ms", "p99_ms")]
            one.append(MISSING if plus is None else f"{plus:+.2f}")
            all_cells = [shown(of(field, many)) for field in ("per_s", "server_cpu_ms", "client_cpu_ms")]
            rows.append([NAMES[wire], values, *one, *all_cells, percent(share)])
    header = ["call", "values", "median, ms", "p99, ms", "over the scorer, ms"]
    header += [f"requests/s, {many} callers", "server CPU, ms", "client CPU, ms"]
    return markdown([*header, "of the scorer's requests/s"], rows)


def open_table(records: Records) -> str:
    """Requests that come when they come, at half of what the server can."""
    rows = []
    for wire in points.OPEN_WIRES:
        found = open_loop(records, wire)
        tail = ratio(pick(found, "p99_ms"), pick(found, "median_ms"))
        fields = ("rate", "n", "median_ms", "p99_ms", "p999_ms", "max_ms", "sent_late_p99_ms")
        cells = [shown(pick(found, field)) for field in fields]
        errors = n_errors(found)
        rows.append([NAMES[wire], *cells, times(tail), MISSING if errors is None else str(errors)])
    header = ["call", "requests/s", "requests", "median, ms", "p99, ms", "p99.9, ms", "longest, ms"]
    return markdown([*header, "sent late, p99, ms", "p99 over median", "errors"], rows)


def percent(value: float | None) -> str:
    """A share."""
    return MISSING if value is None else f"{value:.0%}"


def machine_lines(machine: dict[str, str], command: str) -> str:
    """The machine, the versions, the command, the date, and how busy the machine was."""
    parts = [
        f"{machine.get('cpu', '?')} (family/model {machine.get('family_and_model', '?')})",
        f"{machine.get('cpus', '?')} CPUs",
        machine.get("caches", ""),
        machine.get("simd", ""),
        f"{machine.get('memory', '?')} of memory",
        machine.get("rustc", ""),
        f"ONNX Runtime {machine.get('onnxruntime', '?')}",
    ]
    listed = ", ".join(part for part in parts if part)
    return (
        f"{listed}.\n\nMade by `{command}` on {machine.get('date', '?')} (release profile), medians of "
        f"all repetitions, ± half the range between them. Load average before and after: "
        f"{machine.get('load_before', '?')} and {machine.get('load_after', '?')}."
    )


def blocks(records: Records, machine: dict[str, str], command: str) -> dict[str, str]:
    """All parts of the document, by the names of their markers."""
    return {
        "machine": machine_lines(machine, command),
        "targets": targets_table(records),
        "scorer": scorer_table(records),
        "server-1-pinned": server_table(records, points.Serving(1, pinned=True)),
        "server-1": server_table(records, points.Serving(1, pinned=False)),
        "server-2": server_table(records, points.Serving(2, pinned=False)),
        "open": open_table(records),
    }
