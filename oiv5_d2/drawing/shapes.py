"""Objects drawn on an image: translucent masks, crisp outlines, thin boxes, tags out of the way.

All functions are pure: arrays in, a new array out. An image is drawn at the size at which it will
be seen, so that lines and letters stay sharp; masks are anti-aliased on the way.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.drawing.colours import IGNORED, Colour
from oiv5_d2.drawing.text import Box, Tag, area, draw_tags

RgbImage = NDArray[np.uint8]  # (H, W, 3)
Size = tuple[int, int]  # (height, width) in pixels
Canvas = NDArray[np.float32]  # (H, W, 3), 0 to 255
Alpha = NDArray[np.float32]  # (H, W), 0 to 1

FILL = 0.33
BOX_LINE = 0.75
DOT_FONT = cv2.FONT_HERSHEY_SIMPLEX
HATCH_LINE, HATCH_SHADE = 0.55, 0.2


class Shape(NamedTuple):
    """One object to draw.

    Attributes:
        class_name: fixes the colour.
        box: xyxy_abs in pixels of the image.
        mask: (H, W) bool at the image's size, or None for an object known by its box alone.
        tag: what is written beside it; empty writes nothing.
        ignored: a region that neither counts as object nor as background: hatched in grey.
    """

    class_name: str
    box: Box
    mask: NDArray[np.bool_] | None = None
    tag: str = ""
    ignored: bool = False


def fit(size: Size, room: Size) -> Size:
    """Return the largest size with the proportions of `size` that fits into `room`."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def draw(
    image: RgbImage,
    shapes: Sequence[Shape],
    colours: Mapping[str, Colour],
    room: Size,
    has_boxes: bool = True,
) -> RgbImage:
    """Draw `shapes` on a copy of `image`, resized to fit into `room`.

    Args:
        image: (H, W, 3) uint8, RGB.
        shapes: in any order; larger ones are drawn below smaller ones.
        colours: per class name.
        room: (height, width) of the result at most; one of the two is reached.
        has_boxes: whether objects' boxes are drawn.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    size = fit(image.shape[:2], room)
    line = max(1.2, min(size) / 170)  # pixels
    canvas = _resize(image, size, cv2.INTER_CUBIC).astype(np.float32)
    below_first = sorted(shapes, key=lambda shape: (not shape.ignored, -area(shape.box)))
    scales = (size[1] / image.shape[1], size[0] / image.shape[0]) * 2
    tags = []
    for shape in below_first:
        colour = IGNORED if shape.ignored else colours[shape.class_name]
        x0, y0, x1, y1 = (side * scale for side, scale in zip(shape.box, scales, strict=True))
        tags.append(Tag(shape.tag, (x0, y0, x1, y1), colour, minor=shape.ignored))
        if shape.mask is not None:
            _draw_region(canvas, shape.mask, colour, line, shape.ignored)
    for shape, tag in zip(below_first, tags, strict=True):
        if has_boxes and not shape.ignored:
            _draw_box(canvas, tag.box, tag.colour, line / 2)
    return draw_tags(canvas.round().clip(0, 255).astype(np.uint8), tags)


def draw_dots(image: RgbImage, dots: Sequence[tuple[float, float, Colour]]) -> RgbImage:
    """Draw numbered dots on a copy of an image, in the order given.

    Args:
        image: (H, W, 3) uint8, RGB.
        dots: x and y as fractions of the image's width and height, and the colour.
    """
    height, width = image.shape[:2]
    canvas, radius = image.copy(), max(3, round(min(height, width) / 45))
    for number, (x, y, colour) in enumerate(dots, start=1):
        place, text = (round(x * width), round(y * height)), str(number)
        cv2.circle(canvas, place, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(canvas, place, radius, colour, -1, cv2.LINE_AA)
        beside = place[0] + radius + 1, place[1] - radius
        for line, ink in ((3, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(canvas, text, beside, DOT_FONT, 0.4, ink, line, cv2.LINE_AA)
    return canvas


def _draw_region(
    canvas: Canvas, mask: NDArray[np.bool_], colour: Colour, line: float, ignored: bool
) -> None:
    size = canvas.shape[:2]
    inside, outline = _soften(mask, size, line * 0.6 if ignored else line)
    if ignored:
        _blend(canvas, (0, 0, 0), inside * HATCH_SHADE)
        hatch = inside * _stripes(size, line) * HATCH_LINE
        _blend(canvas, colour, np.maximum(hatch, outline * 0.9))
    else:
        _blend(canvas, colour, np.maximum(inside * np.float32(FILL), outline))


def _soften(mask: NDArray[np.bool_], size: Size, line: float) -> tuple[Alpha, Alpha]:
    """Return how much of each pixel of the result is object, and how much is outline.

    The outline lies inside the mask, so that nothing outside the object changes; its width is given
    in pixels of the result.
    """
    # A frame of background closes the outline of an object that the image's edge cuts off.
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1] - 0.5
    width = line * mask.shape[0] / size[0]
    edge = np.clip(width - depth, 0, 1).astype(np.float32) * mask
    # Not cubic when it grows: that would swing below 0 and above 1.
    both = _resize(np.dstack([mask.astype(np.float32), edge]), size, cv2.INTER_LINEAR)
    return both[..., 0], both[..., 1]


def _resize(pixels: NDArray[Any], size: Size, enlarging: int) -> NDArray[Any]:
    """Return pixels at `size`: averaged if they shrink, else by OpenCV's method `enlarging`."""
    how = cv2.INTER_AREA if size[0] < pixels.shape[0] else enlarging
    return cv2.resize(pixels, size[::-1], interpolation=how)


def _stripes(size: Size, line: float) -> Alpha:
    """Return anti-aliased diagonal stripes, a third as wide as the gaps between them."""
    period = max(6.0, line * 5)
    y, x = np.mgrid[: size[0], : size[1]]
    phase = np.abs((x + y) % period - period / 2)
    stripes: Alpha = np.clip(period / 8 - phase + 0.5, 0, 1).astype(np.float32)
    return stripes


def _draw_box(canvas: Canvas, box: Box, colour: Colour, line: float) -> None:
    alpha = np.zeros(canvas.shape[:2], np.float32)
    x0, y0, x1, y1 = (round(v) for v in box)
    corner = (max(x0, x1 - 1), max(y0, y1 - 1))  # a box ends before its far edge
    cv2.rectangle(alpha, (x0, y0), corner, BOX_LINE, max(1, round(line)))
    _blend(canvas, colour, alpha)


def _blend(canvas: Canvas, colour: Colour, alpha: Alpha) -> None:
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if rows.size:
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        share = alpha[window][..., None]
        canvas[window] += (np.array(colour, np.float32) - canvas[window]) * share
