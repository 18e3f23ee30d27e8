"""The picture of docs/performance.md: four small charts, as SVG written by hand.

Ours is a solid black line with filled circles, the peer a dashed grey one with open squares, so that
it reads in black and white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Points = list[tuple[float, float]]

WIDTH, HEIGHT = 420, 270  # of one chart
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 40, 48  # its margins
HEAD = 34  # above all charts: the legend


@dataclass(frozen=True)
class Style:
    """How a series looks."""

    colour: str
    dashes: str
    is_round: bool


OURS = Style("#000000", "", True)
PEER = Style("#6b6b6b", "6 4", False)


@dataclass(frozen=True)
class Series:
    """Points (x, y), x ascending or descending."""

    style: Style
    points: Points


@dataclass(frozen=True)
class Chart:
    """One chart: x on a logarithmic axis, y from 0."""

    title: str
    x_name: str
    y_name: str
    x_labels: Sequence[tuple[float, str]]
    series: Sequence[Series]
    x_falls: bool = False


def nice_step(highest: float, n_steps: int = 5) -> float:
    """1, 2 or 5 times a power of ten, at most `n_steps` of which reach `highest`."""
    rough = max(highest, 1e-9) / n_steps
    power = 10 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


@dataclass(frozen=True)
class Axes:
    """Where values lie in a chart."""

    x_low: float
    x_high: float
    y_high: float
    x_falls: bool

    def x(self, value: float) -> float:
        """Pixels from the left."""
        span = math.log(self.x_high / self.x_low) or 1.0
        share = math.log(value / self.x_low) / span
        share = 1 - share if self.x_falls else share
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return HEIGHT - BOTTOM - value / self.y_high * (HEIGHT - TOP - BOTTOM)


def axes_of(chart: Chart) -> tuple[Axes, float]:
    """The axes, and the distance of the y labels."""
    highest = max((y for one in chart.series for _, y in one.points), default=1.0)
    step = nice_step(highest)
    xs = [x for x, _ in chart.x_labels]
    return Axes(min(xs), max(xs), math.ceil(highest / step) * step, chart.x_falls), step


def text(x: float, y: float, words: str, anchor: str = "middle", extra: str = "") -> str:
    """A piece of text."""
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {where}{extra}>{escape(words)}</text>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    """A straight line."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"{extra}/>'


def mark(style: Style, x: float, y: float) -> str:
    """A filled circle or an open square."""
    if style.is_round:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{style.colour}"/>'
    corner = f'x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"'
    return f'<rect {corner} fill="#ffffff" stroke="{style.colour}" stroke-width="1.5"/>'


def path(style: Style, points: Points) -> str:
    """The line through the points (pixels)."""
    listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
    look = f'fill="none" stroke="{style.colour}" stroke-width="1.8"{dashes}'
    return f'<polyline points="{listed}" {look}/>'


def frame(chart: Chart, axes: Axes, step: float) -> list[str]:
    """Title, grid, labels, names of the axes."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [text(LEFT, TOP - 16, chart.title, "start", ' font-weight="bold"')]
    for number in range(round(axes.y_high / step) + 1):
        y = axes.y(number * step)
        parts.append(line(LEFT, y, right, y, "#333333" if number == 0 else "#dddddd"))
        parts.append(text(LEFT - 7, y + 4, f"{number * step:g}", "end"))
    for value, label in chart.x_labels:
        x = axes.x(value)
        parts.append(line(x, bottom, x, bottom + 4, "#333333"))
        parts.append(text(x, bottom + 17, label))
    parts.append(text((LEFT + right) / 2, HEIGHT - 12, chart.x_name))
    middle = (TOP + bottom) / 2
    turned = f' transform="rotate(-90 14 {middle:.1f})"'
    parts.append(text(14, middle, chart.y_name, "middle", turned))
    return parts


def drawn(chart: Chart) -> list[str]:
    """One chart, its corner at the origin."""
    axes, step = axes_of(chart)
    parts = frame(chart, axes, step)
    for one in chart.series:
        pixels = [(axes.x(x), axes.y(y)) for x, y in one.points]
        parts.append(path(one.style, pixels))
        parts += [mark(one.style, x, y) for x, y in pixels]
    return parts


def legend(names: Sequence[tuple[Style, str]]) -> list[str]:
    """The series, above all charts."""
    parts, x = [], float(LEFT)
    for style, name in names:
        parts.append(path(style, [(x, 20), (x + 34, 20)]))
        parts.append(mark(style, x + 17, 20))
        parts.append(text(x + 42, 24, name, "start"))
        x += 70 + 6.6 * len(name)
    return parts


def picture(charts: Sequence[Chart], names: Sequence[tuple[Style, str]], about: str) -> str:
    """The whole file: the charts in two columns."""
    n_rows = (len(charts) + 1) // 2
    width, height = 2 * WIDTH, HEAD + n_rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="#111111" role="img">',
        f"<title>{escape(about)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *legend(names),
    ]
    for place, chart in enumerate(charts):
        x, y = place % 2 * WIDTH, HEAD + place // 2 * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *drawn(chart), "</g>"]
    return "\n".join([*parts, "</svg>", ""])
