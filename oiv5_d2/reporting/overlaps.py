"""Images before and after overlapping masks are cut: what is in two objects, and which one gets it.

Each object has its own colour, since most that overlap are of one class; the image itself is grey.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.occlusion import cut
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.drawing.colours import PALETTE, Colour
from oiv5_d2.drawing.shapes import RgbImage, Shape, draw
from oiv5_d2.drawing.sheets import Cell, LegendEntry
from oiv5_d2.drawing.text import Box
from oiv5_d2.reporting.gallery import CELL
from oiv5_d2.reporting.objects import Window, around
from oiv5_d2.reporting.truth import AnnotatedImage, Part, read_image

ROOM = 32  # pixels around what is cut
_RED: Colour = (235, 30, 40)
_COLOURS = {str(place): colour for place, colour in enumerate(PALETTE)}
LEGEND = [LegendEntry("in two objects; each object has a colour of its own", _RED)]

Record = Mapping[str, Any]


class _Cut(NamedTuple):
    """An image whose masks overlap."""

    image: AnnotatedImage
    before: Sequence[Record]
    """Its objects; run lengths."""
    after: Sequence[Record]
    lost: Sequence[NDArray[np.bool_]]
    """What is cut of each object, (H, W)."""

    @property
    def num_pixels(self) -> int:
        return sum(int(mask.sum()) for mask in self.lost)


def cut_cells(part: Part, images: Iterable[AnnotatedImage], order: str) -> Iterator[Cell]:
    """Yield two cells an image with masks that overlap, most first: before and after they are cut.

    Each shows the place where most was cut, with the objects there.

    Args:
        part: that the images are of.
        images: those to look at.
        order: a key of `occlusion.ORDERS`.
    """
    Outlines(occlusion=order)  # which refuses an unknown one
    cuts = [found for found in (_cut(image, order) for image in images) if found.num_pixels]
    for found in sorted(cuts, key=lambda found: -found.num_pixels):
        pixels, id_ = read_image(part, found.image), found.image.record["open_images_id"]
        most = _box_of(max(found.lost, key=np.count_nonzero))
        window = around(most, most, pixels.shape, ROOM)
        grey = np.repeat(window.of(pixels).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        shared = window.of(np.logical_or.reduce(found.lost))
        red = np.where(shared[..., None], np.array(_RED, np.uint8), grey)
        what = f"{found.num_pixels:,} px are in two objects"
        yield Cell(_drawn(red, found.before, window, ~shared), f"{id_}, before", what)
        num_losers = sum(bool(mask.any()) for mask in found.lost)
        what = f"{order} in front; cut from {num_losers} object{'s' if num_losers > 1 else ''}"
        yield Cell(_drawn(grey, found.after, window), f"{id_}, after", what)


def _cut(image: AnnotatedImage, order: str) -> _Cut:
    size = image.record["height"], image.record["width"]
    before = [
        {**one, "segmentation": masks.to_rle(one["segmentation"], *size)} for one in image.objects
    ]
    after = cut(before, order, *size)
    lost = [_mask(old) & ~_mask(new) for old, new in zip(before, after, strict=True)]
    return _Cut(image, before, after, lost)


def _mask(record: Record) -> NDArray[np.bool_]:
    """Return an object's pixels; none if it is hidden by others."""
    mask = masks.decode(record["segmentation"])
    return np.zeros_like(mask) if record["iscrowd"] else mask


def _drawn(
    pixels: RgbImage,
    records: Sequence[Record],
    window: Window,
    where: NDArray[np.bool_] | None = None,
) -> RgbImage:
    """Return a window's image with its objects, each with a colour by its place in the records."""
    shapes = []
    for place, one in enumerate(records):
        mask = window.of(_mask(one))
        mask = mask if where is None else mask & where
        if mask.any():
            shapes.append(Shape(str(place % len(PALETTE)), _box_of(mask), mask))
    return draw(pixels, shapes, _COLOURS, CELL, has_boxes=False)


def _box_of(mask: NDArray[np.bool_]) -> Box:
    x, y, w, h = masks.tight_box(mask)
    return x, y, x + w, y + h
