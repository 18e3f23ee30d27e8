"""Draws the table of the example `simulated_network` in docs/distributed.md, with the model of `ncs plan` laid over it.

    cargo run --release -p ncs-experiments --example simulated_network -- log/run.toml 'distributed.tables="sharded"' > table.md
    python3 tools/simulated_network/draw.py table.md docs/distributed.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Charts are those of the benchmark.
sys.path.append(str(HERE.parent / "bench"))

from picture import OURS, PEER, Chart, Series, picture  # noqa: E402


def rows_of(table: str) -> list[list[float]]:
    """The numbers of a Markdown table."""
    rows = [line.strip().strip("|").split("|") for line in table.splitlines() if line.strip().startswith("|")]
    return [[float(cell.replace(",", "")) for cell in row] for row in rows[2:]]


def charts(rows: list[list[float]], simulated: int, model: int) -> list[Chart]:
    """The time of a step, and how many times as fast as on one rank, from these columns."""
    labels = [(row[0], f"{row[0]:g}") for row in rows]

    def chart(title: str, y_name: str, column: int, other: int, *, is_ratio: bool) -> Chart:
        def points(at: int) -> list[tuple[float, float]]:
            return [(row[0], rows[0][at] / row[at] if is_ratio else row[at]) for row in rows]

        return Chart(title, "ranks", y_name, labels, [Series(PEER, points(other)), Series(OURS, points(column))])

    return [
        chart("Time of a step", "milliseconds", simulated, model, is_ratio=False),
        chart("Faster than one rank", "times", simulated, model, is_ratio=True),
    ]


def main() -> None:
    """Reads, draws, writes."""
    table, out = map(Path, sys.argv[1:3])
    text = table.read_text()
    header = next(line for line in text.splitlines() if line.strip().startswith("|"))
    names = [name.strip() for name in header.strip().strip("|").split("|")]
    simulated = next(place for place, name in enumerate(names) if name.startswith("simulated"))
    model = next(place for place, name in enumerate(names) if name.startswith("model"))
    drawn = charts(rows_of(text), simulated, model)
    legend = [(OURS, "simulated network, 10 Gbit/s and 0.1 ms"), (PEER, "model of ncs plan")]
    out.write_text(picture(drawn, legend, "A step of 1 to 16 ranks, simulated and by the model of ncs plan"))


if __name__ == "__main__":
    main()
