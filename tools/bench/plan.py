"""What is measured: the points of the tables and of the picture."""

from __future__ import annotations

from dataclasses import dataclass

PAPER_BATCH = 4096
PAPER_TABLE_ROWS = 10_000_000
# The density of the points where something else varies.
DENSITY = 0.2

DENSITIES = (1.0, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05)
BATCHES = (256, 1024, 4096, 16384)
WIDTHS = (1, 2, 4)
TABLE_ROWS = (1_000_000, 10_000_000, 50_000_000)

QUICK_DENSITIES = (1.0, 0.3, 0.2, 0.05)
QUICK_BATCHES = (1024, 4096)
QUICK_WIDTHS = (1, 2)
QUICK_TABLE_ROWS = (1_000_000, 10_000_000)

# Those of variants.py; the first is the one of all other points.
VARIANTS = ("eager", "bf16", "compile", "compile, bf16", "torch.sparse")

CANDIDATES = (1, 64, 500)
# Every request is the same, so its rows are in cache whatever the table; a smaller one exports faster.
SCORE_TABLE_ROWS = 1_000_000


@dataclass(frozen=True)
class Point:
    """One call of our program, and the same of the peers' where `has_peer`."""

    name: str
    arguments: tuple[str, ...]
    has_peer: bool
    # What the peer needs, or it is left out.
    peer_memory_gb: float = 0.0
    # The same whenever it runs: not repeated.
    is_exact: bool = False
    has_ours: bool = True


def step_name(
    density: float = DENSITY,
    threads: int = 1,
    batch: int = PAPER_BATCH,
    width: int = 1,
    table_rows: int = PAPER_TABLE_ROWS,
) -> str:
    """The name of the point that measures this step."""
    return f"step d={density:g} t={threads} b={batch} w={width} r={table_rows}"


def step(samples: int, has_peer: bool, **size: float) -> Point:
    """A joint step; sizes as in `step_name`."""
    full = {
        "density": DENSITY,
        "threads": 1,
        "batch": PAPER_BATCH,
        "width": 1,
        "table_rows": PAPER_TABLE_ROWS,
        **size,
    }
    density = f"{full['density']:g}"
    arguments = ["step", "--density", density, density, "--samples", str(samples)]
    for key in ("threads", "batch", "width", "table_rows"):
        arguments += [f"--{key.replace('_', '-')}", str(full[key])]
    # The table and two moments of 16 numbers a row.
    memory_gb = full["table_rows"] * 16 * 4 * 3 / 1e9 + 2
    return Point(step_name(**full), tuple(arguments), has_peer, memory_gb)


def variants(samples: int) -> Point:
    """The step at the usual density in all ways in which PyTorch can be told to take it."""
    of_step = step(samples, True)
    arguments = (*of_step.arguments, "--variants", *VARIANTS)
    return Point("variants", arguments, True, of_step.peer_memory_gb, has_ours=False)


def points(quick: bool) -> list[Point]:
    """All points, those of the targets first."""
    samples = 3 if quick else 7
    density_only = QUICK_DENSITIES if quick else DENSITIES
    found = [step(samples, density == DENSITY, density=density) for density in density_only]
    found += [
        step(samples, True, threads=2),
        variants(samples),
        Point("search", search_arguments(1 if quick else 3), True),
        Point("score", score_arguments(9 if quick else 21), True),
        Point("read", ("read", "--threads", "2", "--samples", str(samples)), False),
        Point("memory", ("memory", "--steps", "50" if quick else "300"), False, is_exact=True),
    ]
    for batch in QUICK_BATCHES if quick else BATCHES:
        found.append(step(samples, True, batch=batch))
    for width in QUICK_WIDTHS if quick else WIDTHS:
        found.append(step(samples if width == 1 else 3, True, width=width))
    for table_rows in QUICK_TABLE_ROWS if quick else TABLE_ROWS:
        found.append(step(samples, True, table_rows=table_rows))
    unique: dict[str, Point] = {}
    for point in found:
        unique.setdefault(point.name, point)
    return list(unique.values())


def search_arguments(samples: int) -> tuple[str, ...]:
    """Five rounds to the density, both tasks."""
    density = f"{DENSITY:g}"
    arguments = f"search --density {density} {density} --rounds 5 --steps-per-level 250"
    return tuple(f"{arguments} --samples {samples}".split())


def score_arguments(samples: int) -> tuple[str, ...]:
    """One user, several numbers of candidates."""
    density = f"{DENSITY:g}"
    candidates = " ".join(map(str, CANDIDATES))
    arguments = f"score --density {density} {density} --table-rows {SCORE_TABLE_ROWS}"
    return tuple(f"{arguments} --candidates {candidates} --samples {samples}".split())
