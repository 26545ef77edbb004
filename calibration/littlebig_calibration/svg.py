"""SVG axes and shapes for the report and the search plot, without a plotting library."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 400, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 12, 44
# Height of a line of title.
_TITLE = 20
# The page that holds a chart may set these variables for its theme; a file of its own shows the second colour.
GRID, SOFT, AXIS = "var(--grid, #e3e6ea)", "var(--soft, #55606b)", "var(--axis, #8a949e)"
INK, PAPER = "var(--ink, #1c232b)", "var(--paper, #fff)"


def without_theme(drawing: str) -> str:
    """A drawing for a file of its own: viewers other than browsers do not know CSS variables."""
    return re.sub(r"var\(--\w+, (#\w+)\)", r"\1", drawing)


@dataclass(frozen=True)
class Axis:
    """A range of values along an axis.

    Attributes:
        low: value at the left or lower end.
        high: value at the other end.
        title: what is measured.
        percent: whether ticks are printed as percentages.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    title: str
    percent: bool = False
    log: bool = False

    def share(self, value: float) -> float:
        """The position of a value, from 0 at the low end to 1 at the high end; clipped."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        place = (math.log(value) if self.log else value) - low
        return min(max(place / ((high - low) or 1.0), 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their labels."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if last - first <= 3 else (1,)
            values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            return [(value, f"{value:g}") for value in values if self.low <= value <= self.high]
        span = (self.high - self.low) or 1.0
        unit = 10 ** math.floor(math.log10(span / 4))
        step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 7)
        first = math.ceil(self.low / step - 1e-9)
        values = [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        digits = max(0, -math.floor(math.log10(step) + 1e-9) - (2 if self.percent else 0))
        return [(value, f"{value:.{digits}%}" if self.percent else f"{value:,.{digits}f}") for value in values]


@dataclass(frozen=True)
class Frame:
    """A chart's coordinate system.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        width: in SVG units.
        height: in SVG units.
        title: a line above the chart; a page has headings instead.
    """

    x: Axis
    y: Axis
    width: int = WIDTH
    height: int = HEIGHT
    title: str = ""

    @property
    def top(self) -> int:
        """Vertical position of the frame's upper end."""
        return TOP + (_TITLE if self.title else 0)

    def px(self, value: float) -> float:
        """Horizontal position of a value."""
        return round(LEFT + self.x.share(value) * (self.width - LEFT - RIGHT), 1)

    def py(self, value: float) -> float:
        """Vertical position of a value."""
        return round(self.height - BOTTOM - self.y.share(value) * (self.height - self.top - BOTTOM), 1)

    def drawing(self, shapes: Iterable[str], label: str) -> str:
        """The whole chart: grid, axes and shapes.

        Args:
            shapes: SVG elements.
            label: a description for screen readers.
        """
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        parts = [
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(label)}" '
            'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="13">'
        ]
        if self.title:
            parts.append(f'<text x="4" y="18" fill="{INK}">{escape(self.title)}</text>')
        for value, text in self.y.ticks():
            place = self.py(value)
            parts.append(f'<path d="M{LEFT} {place}H{right}" stroke="{GRID}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{place + 4}" text-anchor="end" fill="{SOFT}">{text}</text>')
        for value, text in self.x.ticks():
            place = self.px(value)
            parts.append(f'<path d="M{place} {bottom}v4" stroke="{AXIS}"/>')
            parts.append(f'<text x="{place}" y="{bottom + 17}" text-anchor="middle" fill="{SOFT}">{text}</text>')
        parts.append(f'<path d="M{LEFT} {bottom}H{right}" stroke="{AXIS}"/>')
        parts.extend(shapes)
        middle = (LEFT + right) / 2
        parts.append(
            f'<text x="{middle}" y="{self.height - 7}" text-anchor="middle" fill="{INK}">{escape(self.x.title)}</text>'
        )
        height = (self.top + bottom) / 2
        turned = f'transform="translate(13 {height}) rotate(-90)"'
        parts.append(f'<text {turned} text-anchor="middle" fill="{INK}">{escape(self.y.title)}</text>')
        return "\n".join([*parts, "</svg>"])

    def line(self, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
        """A line through points."""
        path = " ".join(f"{self.px(x)},{self.py(y)}" for x, y in points)
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'

    def dot(self, x: float, y: float, colour: str, title: str, *, hollow: bool = False, radius: float = 5) -> str:
        """A point, with a tooltip."""
        fill = f'fill="{PAPER}" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}" stroke="{PAPER}"'
        circle = f'<circle cx="{self.px(x)}" cy="{self.py(y)}" r="{radius}" {fill}>'
        return f"{circle}<title>{escape(title)}</title></circle>"

    def band(self, across: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> str:
        """The area between two curves over the same places; cut where it leaves the frame."""
        upper = [f"{self.px(x)},{self.py(y)}" for x, y in zip(across, high, strict=True)]
        lower = [f"{self.px(x)},{self.py(y)}" for x, y in zip(across, low, strict=True)]
        return f'<polygon points="{" ".join([*upper, *reversed(lower)])}" fill="{colour}"/>'

    def bar(self, across: tuple[float, float], up: tuple[float, float], colour: str, title: str) -> str:
        """An upright bar over two ranges of values, with a tooltip."""
        x, y = self.px(across[0]), self.py(up[1])
        width, height = max(self.px(across[1]) - x - 1, 0.5), max(self.py(up[0]) - y, 0)
        return (
            f'<rect x="{x + 0.5}" y="{y}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>"
        )
