"""Curves in panels, two rows of two, as an image."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from oiv5_d2.drawing.colours import FAINT_INK, INK, PALETTE, to_hex
from oiv5_d2.drawing.shapes import RgbImage

_INKS = to_hex({"ink": INK, "faint": FAINT_INK})
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INKS["ink"],
    "axes.labelcolor": _INKS["faint"],
    "axes.edgecolor": "#c8ccd0",
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaec",
    "xtick.color": _INKS["faint"],
    "ytick.color": _INKS["faint"],
    "legend.frameon": False,
}
# Lime is too light for a line on white; the other colours are those of the objects.
_LINE_COLOURS = tuple(
    to_hex({str(i): colour for i, colour in enumerate(PALETTE) if i not in (2, 3)}).values()
)
# Beside the title, in one row: over the curves it would hide some.
_LEGEND: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1, 0.985),
    "ncols": 5,
    "fontsize": 8,
    "handlelength": 1.2,
    "columnspacing": 1.2,
    "borderaxespad": 0.2,
}


class Line(NamedTuple):
    """One curve: its name, and its points by x, ascending. Without points it is not drawn."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


class Panel(NamedTuple):
    """Curves that share their axes; y begins at 0 and ends at `top`, or by itself.

    A curve's colour is that of its place in `lines`.
    """

    title: str
    lines: Sequence[Line]
    top: float | None = None
    marker: str = ""


def draw_curves(title: str, panels: Sequence[Panel], x_label: str, last_x: float) -> RgbImage:
    """Return four panels as (H, W, 3) uint8, RGB; the same numbers give the same pixels."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 6.2), dpi=110, layout="constrained")
        figure.suptitle(title, x=0.008, ha="left", fontsize=13, fontweight="bold")
        rows = figure.subplots(2, 2)
        for axes, panel in zip(rows.flat, panels, strict=True):
            _draw(axes, panel)
            axes.set_xlim(0, last_x * 1.03)
        for axes in rows[-1]:
            axes.set_xlabel(x_label)
        buffer = io.BytesIO()
        figure.savefig(buffer, metadata={"Software": None})
    with Image.open(buffer) as drawn:
        return np.asarray(drawn.convert("RGB"))


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    for line, colour in zip(panel.lines, _LINE_COLOURS, strict=False):
        if line.x:
            _plot(axes, line, colour, panel.marker)
    axes.set_ylim(0, panel.top)
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing written", transform=axes.transAxes, ha="center")
    elif len(axes.lines) > 1:
        axes.legend(**_LEGEND)


def _plot(axes: Axes, line: Line, colour: str, marker: str) -> None:
    axes.plot(
        line.x,
        line.y,
        color=colour,
        label=line.label,
        linewidth=1.6,
        marker=marker or ("o" if len(line.x) == 1 else ""),  # a point alone draws no line
        markersize=5,
    )
