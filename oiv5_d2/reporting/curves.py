"""A run's training curves as a PNG: losses, learning rate and precision, over iterations."""

import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from oiv5_d2.drawing.curves import Line, Panel, draw_curves
from oiv5_d2.files import whole_file
from oiv5_d2.runs.scalars import ITERATION, Scalars, evaluated_names, series

LOSSES = {
    "loss_cls": "Lcls",
    "loss_box_reg": "Lbox",
    "loss_mask": "Lmask",
    "loss_rpn_cls": "RPN cls",
    "loss_rpn_loc": "RPN box",
}
PRECISION = {"segm/AP50": "mask AP50", "segm/AP": "mask AP", "bbox/AP": "box AP"}
NUM_COLOURS = 96


def write_curves(scalars: Scalars, title: str, path: Path) -> None:
    """Draw a run's curves as a PNG; the same numbers give the same bytes."""
    panels = [
        Panel("Total loss", _lines(scalars, {"total_loss": "total"})),
        Panel("Losses apart", _lines(scalars, LOSSES)),
        Panel("Average precision", _precision(scalars), top=100, marker="o"),
        Panel("Learning rate", _lines(scalars, {"lr": "lr"})),
    ]
    last = max([1, *(int(row[ITERATION]) for row in scalars)])
    drawn = Image.fromarray(draw_curves(title, panels, "iteration", last))
    with whole_file(path) as temporary:
        # Few colours are enough for lines, and a third of the bytes: the image is committed.
        drawn.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(temporary, optimize=True)


def _lines(scalars: Scalars, labels: Mapping[str, str]) -> list[Line]:
    return [Line(label, *series(scalars, name)) for name, label in labels.items()]


def _precision(scalars: Scalars) -> list[Line]:
    """Return the lines of what evaluations wrote; with several data sets, the first one's."""
    names = evaluated_names(scalars)
    lines = []
    for ending, label in PRECISION.items():
        matching = [name for name in names if re.search(rf"(^|/){ending}$", name)]
        lines.append(
            Line(label, *series(scalars, matching[0])) if matching else Line(label, [], [])
        )
    return lines
