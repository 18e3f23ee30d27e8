"""How the cost of a step grows: the four charts of the picture, from the results."""

from __future__ import annotations

from collections.abc import Sequence

import plan
from figures import Figure, Results
from picture import OURS, PEER, Chart, Points, Series, picture
from plan import step_name
from tables import short

Y_NAME = "CPU time per row, µs"


def draw(results: Results, machine: dict[str, str]) -> str:
    """The SVG file."""
    charts = [
        density_chart(results),
        chart(results, "Rows of a batch", "rows (log scale)", "batch", plan.BATCHES),
        chart(results, "Width of the layers", "times 512-256-128 (log scale)", "width", plan.WIDTHS),
        chart(results, "Rows of the table", "rows of 16 numbers (log scale)", "table_rows", plan.TABLE_ROWS),
    ]
    pytorch = f"PyTorch {machine.get('torch', '').split('+')[0]}".strip()
    blas = machine.get("torch_blas")
    names = [(OURS, "ours"), (PEER, f"{pytorch} ({blas})" if blas else pytorch)]
    return picture(charts, names, "CPU time per row of a joint training step")


def density_chart(results: Results) -> Chart:
    """PyTorch is measured at one density; it multiplies by the zeros, so its line is level."""
    found = ((d, results.ours(step_name(density=d))) for d in plan.DENSITIES)
    ours = [(d, per_row(figure, plan.PAPER_BATCH)) for d, figure in found if figure]
    peer = results.peer(step_name(), "pytorch")
    level = per_row(peer, plan.PAPER_BATCH) if peer else None
    ends = (plan.DENSITIES[0], plan.DENSITIES[-1])
    return Chart(
        title="Density of both masks",
        x_name="kept connections, percent (log scale)",
        y_name=Y_NAME,
        x_labels=[(d, f"{d * 100:g}") for d in plan.DENSITIES],
        series=listed(ours, [] if level is None else [(end, level) for end in ends]),
        x_falls=True,
    )


def chart(
    results: Results, title: str, x_name: str, what: str, values: Sequence[int]
) -> Chart:
    """One of the other three, at density 0.2."""
    ours: Points = []
    peer: Points = []
    for value in values:
        name = step_name(**{what: value})
        rows = value if what == "batch" else plan.PAPER_BATCH
        figures = (results.ours(name), ours), (results.peer(name, "pytorch"), peer)
        for figure, points in figures:
            if figure:
                points.append((value, per_row(figure, rows)))
    labels = [(value, f"x{value}" if what == "width" else short(value)) for value in values]
    return Chart(f"{title}, density 0.2", x_name, Y_NAME, labels, listed(ours, peer))


def listed(ours: Points, peer: Points) -> list[Series]:
    """Those that have points, ours last: it lies on top."""
    return [Series(style, points) for style, points in ((PEER, peer), (OURS, ours)) if points]


def per_row(cost_ms: Figure, rows: int) -> float:
    """Microseconds."""
    return cost_ms.median / rows * 1e3
