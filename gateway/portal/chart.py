"""Lines as SVG: the points of a chart, worked out here, so that pages draw without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 150


@dataclass(frozen=True, slots=True)
class Chart:
    """`lines`: path data of each line; `dots`: of its points between two gaps; `area`: of what lies
    below the first. `top`: the value at the upper edge. `marks`: (x, microseconds) for labels.
    `is_empty`: there is no point.
    """

    width: int
    height: int
    lines: list[str]
    dots: list[str]
    area: str
    top: float
    marks: list[tuple[float, int]]
    is_empty: bool


def chart(
    series: Sequence[Sequence[float | None]],
    width: int = WIDTH,
    height: int = HEIGHT,
    *,
    times: Sequence[int] = (),
    top: float | None = None,
) -> Chart:
    """A chart of lines with one scale. None is a gap."""
    known = [v for values in series for v in values if v is not None]
    upper = top or nice(max(known, default=0.0))
    count = max(map(len, series))
    step = width / max(1, count - 1)

    def place(index: int, value: float) -> str:
        return f"{index * step:.1f} {height - height * min(value, upper) / upper:.1f}"

    lines = [_path(values, place) for values in series]
    dots = [_dots(values, place) for values in series]
    first = [(i, v) for i, v in enumerate(series[0]) if v is not None]
    area = ""
    if first and len(first) == len(series[0]):
        points = " L".join(place(i, v) for i, v in first)
        area = f"M0 {height} L{points} L{width} {height} Z"
    wanted = range(0, len(times), max(1, len(times) // 4))
    marks = [(i * step, times[i]) for i in wanted]
    return Chart(width, height, lines, dots, area, upper, marks, not known)


def _path(values: Sequence[float | None], place: Callable[[int, float], str]) -> str:
    parts, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        parts.append(pen + place(index, value))
        pen = "L"
    return " ".join(parts)


def _dots(values: Sequence[float | None], place: Callable[[int, float], str]) -> str:
    """Points that no line goes through, as lines of almost no length: their round ends show."""
    padded = (None, *values, None)
    return " ".join(
        f"M{place(index, value)} h0.1"
        for index, value in enumerate(values)
        if value is not None and padded[index] is None and padded[index + 2] is None
    )


def nice(value: float) -> float:
    """The round number at or above a value."""
    if value <= 1:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 2.5, 5, 10) if size * step >= value)
