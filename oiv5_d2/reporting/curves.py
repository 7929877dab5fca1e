"""A run's training curves as a PNG: losses, learning rate and precision, over iterations."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from oiv5_d2.drawing.colours import FAINT_INK, INK, PALETTE, to_hex
from oiv5_d2.files import whole_file
from oiv5_d2.runs.metrics import AVERAGES, COCO, METRICS, TOTAL_LOSS, VALIDATION
from oiv5_d2.runs.scalars import ITERATION, Scalars, Series, evaluated_names, series

Lines = Mapping[str, Series]  # by label; a line's place fixes its colour


class Panel(NamedTuple):
    """Lines over iterations; y begins at 0 and ends at `top`, or by itself."""

    title: str
    lines: Lines
    top: float | None = None
    marker: str = ""


LOSSES = {
    "loss_cls": "Lcls",
    "loss_box_reg": "Lbox",
    "loss_mask": "Lmask",
    "loss_rpn_cls": "RPN cls",
    "loss_rpn_loc": "RPN box",
}
TOTALS = {TOTAL_LOSS: "training", f"{VALIDATION}/{TOTAL_LOSS}": "validation"}
PRECISION = {"segm/AP50": "mask AP50", "segm/AP": "mask AP", "bbox/AP": "box AP"}
AVERAGED = "segm/AP"  # of each average of the weights
NUM_COLOURS = 96
# Lime and pink are too light for a line on white; the other colours are those of the objects.
LINE_COLOURS = [to_hex(colour) for i, colour in enumerate(PALETTE) if i not in (2, 3)]
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": to_hex(INK),
    "axes.labelcolor": to_hex(FAINT_INK),
    "axes.edgecolor": "#c8ccd0",
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8eaec",
    "xtick.color": to_hex(FAINT_INK),
    "ytick.color": to_hex(FAINT_INK),
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
}


def write_curves(scalars: Scalars, title: str, path: Path) -> None:
    """Draw a run's curves as a PNG; the same numbers give the same bytes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.2), dpi=110, layout="constrained")
        figure.suptitle(title, x=0.008, ha="left", fontsize=13, fontweight="bold")
        drawn = figure.subplots(2, 2)
        for axes, panel in zip(drawn.flat, panels(scalars), strict=True):
            _draw(axes, panel)
        last = max([1, *(int(row[ITERATION]) for row in scalars)])
        for axes in figure.axes:
            axes.set_xlim(0, last * 1.03)
        for axes in drawn[1]:
            axes.set_xlabel("iteration")
        save_png(figure, path)


def panels(scalars: Scalars) -> list[Panel]:
    """Return total loss, losses apart, precision, and learning rate; a line may be empty."""
    return [
        Panel("Total loss", _series(scalars, TOTALS)),
        Panel("Losses apart", _series(scalars, LOSSES)),
        Panel("Average precision", _precision(scalars), top=100, marker="o"),
        Panel("Learning rate", _series(scalars, {"lr": "lr"})),
    ]


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure of lines and letters as a small PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    with Image.open(buffer) as drawn, whole_file(path) as temporary:
        # Few colours are enough for lines, and a third of the bytes: the image is committed.
        few = drawn.convert("RGB").quantize(NUM_COLOURS, dither=Image.Dither.NONE)
        few.save(temporary, optimize=True)


def _series(scalars: Scalars, labels: Mapping[str, str]) -> Lines:
    return {label: series(scalars, name) for name, label in labels.items()}


def _precision(scalars: Scalars) -> Lines:
    """Return the lines of what evaluations wrote; with several data sets, the first one's."""
    others = {metric.key for metric in METRICS if metric is not COCO}
    names = [name for name in evaluated_names(scalars) if not others & set(name.split("/"))]
    averaged = {one: [n for n in names if n.startswith(f"{one}/")] for one in AVERAGES}
    plain = [name for name in names if not name.startswith(tuple(f"{one}/" for one in AVERAGES))]
    return {
        **{label: _first(scalars, plain, ending) for ending, label in PRECISION.items()},
        **{f"{one} mask AP": _first(scalars, its, AVERAGED) for one, its in averaged.items()},
    }


def _first(scalars: Scalars, names: Sequence[str], ending: str) -> Series:
    """Return the first of these numbers whose name ends so; an empty series without one."""
    matching = (name for name in names if re.search(rf"(^|/){ending}$", name))
    return series(scalars, next(matching, ""))


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    for (label, (x, y)), colour in zip(panel.lines.items(), LINE_COLOURS, strict=False):
        if x:
            alone = "o" if len(x) == 1 else ""  # a point alone draws no line
            axes.plot(x, y, color=colour, label=label, marker=panel.marker or alone)
    axes.set_ylim(0, panel.top)
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing written", transform=axes.transAxes, ha="center")
    elif len(axes.lines) > 1:
        # Beside the title, in one row: over the curves it would hide some.
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.985), ncols=5)
