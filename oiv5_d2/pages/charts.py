"""Charts of lines as the page's script draws them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from oiv5_d2.drawing.colours import PALETTE

MOST_POINTS = 400  # of a line: a screen shows no more
DIGITS = 5  # that tell something; more only make the file larger

Values = Sequence[float | None]  # None where the line is interrupted


class Line(NamedTuple):
    """One line.

    Attributes:
        name: in the legend.
        colour: its place in the palette, which is used again from its start.
        x: ascending.
        y: as many.
        marks: points of the line that get a dot.
    """

    name: str
    colour: int
    x: Sequence[float]
    y: Values
    marks: Sequence[tuple[float, float]] = ()


class Chart(NamedTuple):
    """Lines between two axes.

    Attributes:
        title: above it.
        x_name: of the axis across.
        lines: what is drawn.
        x_span: both ends of the axis; None to follow the lines, from 0 on.
        y_span: the same of the axis upwards.
        has_marks: each point gets a dot.
        is_square: both axes measure the same.
        has_diagonal: a guide from corner to corner.
    """

    title: str
    x_name: str
    lines: Sequence[Line]
    x_span: tuple[float, float] | None = None
    y_span: tuple[float, float] | None = None
    has_marks: bool = False
    is_square: bool = False
    has_diagonal: bool = False

    def content(self) -> dict[str, Any]:
        """Return what the script reads."""
        return {**self._asdict(), "lines": [_content(line) for line in self.lines]}


def _content(line: Line) -> dict[str, Any]:
    chosen = _thin(len(line.x))
    return {
        "name": line.name,
        "colour": f"var(--colour-{line.colour % len(PALETTE)})",
        "x": [line.x[i] for i in chosen],
        "y": [_short(line.y[i]) for i in chosen],
        "marks": [[_short(one) for one in mark] for mark in line.marks],
    }


def _thin(number: int) -> list[int]:
    """Return the positions of at most `MOST_POINTS` points, evenly, with the first and the last."""
    if number <= MOST_POINTS:
        return list(range(number))
    return [round(i * (number - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]


def _short(value: float | None) -> float | None:
    """Return a value with few digits; None for one that cannot be drawn."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
