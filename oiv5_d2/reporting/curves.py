"""Training curves as one picture: losses, learning rate, precision, over iterations."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from oiv5_d2.drawing.colours import FAINT_INK, INK, PALETTE, to_hex
from oiv5_d2.files import whole_file
from oiv5_d2.runs.scalars import Series, judged_columns, series

LOSSES = {
    "loss_cls": "Lcls",
    "loss_box_reg": "Lbox",
    "loss_mask": "Lmask",
    "loss_rpn_cls": "RPN cls",
    "loss_rpn_loc": "RPN box",
}
PRECISION = {"segm/AP50": "mask AP50", "segm/AP": "mask AP", "bbox/AP": "box AP"}
INKS = to_hex({"ink": INK, "faint": FAINT_INK})
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INKS["ink"],
    "axes.labelcolor": INKS["faint"],
    "axes.edgecolor": "#c8ccd0",
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaec",
    "xtick.color": INKS["faint"],
    "ytick.color": INKS["faint"],
    "legend.frameon": False,
}
# Lime is too light for a line on white; the other colours are those of the pictures.
LINE_COLOURS = tuple(
    to_hex({str(i): colour for i, colour in enumerate(PALETTE) if i not in (2, 3)}).values()
)
# Beside the title, in one row: over the curves it would hide some.
LEGEND: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1, 0.985),
    "ncols": 5,
    "fontsize": 8,
    "handlelength": 1.2,
    "columnspacing": 1.2,
    "borderaxespad": 0.2,
}
NUM_COLOURS = 96


def write_curves(scalars: pd.DataFrame, title: str, path: Path) -> None:
    """Draw a run's curves as a PNG; the same numbers give the same bytes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.2), dpi=110, layout="constrained")
        figure.suptitle(title, x=0.008, ha="left", fontsize=13, fontweight="bold")
        (total, parts), (precision, rate) = figure.subplots(2, 2)
        _draw(total, "Total loss", {"total_loss": "total"}, scalars)
        _draw(parts, "Losses apart", LOSSES, scalars)
        _draw_precision(precision, scalars)
        _draw(rate, "Learning rate", {"lr": "lr"}, scalars)
        for axes in (precision, rate):
            axes.set_xlabel("iteration")
        buffer = io.BytesIO()
        figure.savefig(buffer, metadata={"Software": None})
    with Image.open(buffer) as drawn, whole_file(path) as part:
        # Few colours are enough for lines, and a third of the bytes: the picture is committed.
        drawn.convert("RGB").quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(
            part, optimize=True
        )


def _draw(axes: Axes, title: str, names: Mapping[str, str], scalars: pd.DataFrame) -> None:
    axes.set_title(title)
    for (name, label), colour in zip(names.items(), LINE_COLOURS, strict=False):
        _plot(axes, series(scalars, name), label, colour)
    axes.set_ylim(bottom=0)
    _finish(axes, scalars)


def _draw_precision(axes: Axes, scalars: pd.DataFrame) -> None:
    """Draw what evaluations wrote; with several data sets, the first one's."""
    axes.set_title("Average precision")
    columns = judged_columns(scalars)
    for (ending, label), colour in zip(PRECISION.items(), LINE_COLOURS, strict=False):
        matching = [name for name in columns if re.search(rf"(^|/){ending}$", name)]
        if matching:
            _plot(axes, series(scalars, matching[0]), label, colour, marker="o")
    axes.set_ylim(0, 100)
    _finish(axes, scalars)


def _plot(axes: Axes, line: Series, label: str, colour: str, marker: str = "") -> None:
    if not line.values:
        return
    axes.plot(
        line.iterations,
        line.values,
        color=colour,
        label=label,
        linewidth=1.6,
        marker=marker or ("o" if len(line.values) == 1 else ""),  # a point alone draws no line
        markersize=5,
    )


def _finish(axes: Axes, scalars: pd.DataFrame) -> None:
    last = max(1, int(scalars["iteration"].max())) if len(scalars) else 1
    axes.set_xlim(0, last * 1.03)
    if axes.lines:
        if len(axes.lines) > 1:
            axes.legend(**LEGEND)
    else:
        axes.text(0.5, 0.5, "nothing written", transform=axes.transAxes, ha="center")
