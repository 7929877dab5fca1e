"""What annotators did to draw a mask: the box that they began with, and where they clicked.

Clicks correct a mask; they are in the order of the corrections and no outline of anything. They are
only ever looked at.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.release import ReleaseFile


class Click(NamedTuple):
    """A correction: a place, as fractions of the image's width and height, and what is there."""

    x: float
    y: float
    is_object: bool


class Drawing(NamedTuple):
    """How one mask came about."""

    box: tuple[float, float, float, float]
    """XMin, YMin, XMax, YMax as fractions."""
    clicks: tuple[Click, ...]


def read_drawings(path: Path, file: ReleaseFile, image_ids: Iterable[str]) -> dict[str, Drawing]:
    """Return how the masks of some images were drawn, by MaskPath.

    Args:
        path: the table of masks.
        file: which one of the release it is.
        image_ids: of the images.

    Raises:
        Problem: DAMAGED, with the line; see `read_rows`.
    """
    columns = ["MaskPath", "BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax", "Clicks"]
    found: dict[str, Drawing] = {}
    for frame in read_rows(path, file.columns, columns, {"ImageID": list(image_ids)}):
        rows: Iterable[Any] = frame.itertuples(index=False, name=None)
        found |= {name: Drawing(tuple(box), parse_clicks(text)) for name, *box, text in rows}
    return found


def parse_clicks(text: str) -> tuple[Click, ...]:
    """Return the clicks of ``X Y T;X Y T;...``, T 1 on the object; what is none is left out."""
    clicks = []
    for one in text.split(";"):
        words = one.split()
        try:
            x, y, kind = float(words[0]), float(words[1]), int(words[2])
        except (ValueError, IndexError):
            continue
        if 0 <= x <= 1 and 0 <= y <= 1:
            clicks.append(Click(x, y, kind == 1))
    return tuple(clicks)
