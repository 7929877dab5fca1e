"""Objects drawn on an image: translucent masks, crisp outlines, thin boxes, tags out of the way.

All functions are pure: arrays in, a new array out. An image is drawn at the size at which it will
be seen, so that lines and letters stay sharp; masks are anti-aliased on the way.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.drawing.colours import IGNORED, Colour
from oiv5_d2.drawing.tags import Tag, draw_tags

RgbImage = NDArray[np.uint8]  # (H, W, 3)
Box = tuple[float, float, float, float]  # xyxy_abs
Alpha = NDArray[np.float32]  # (H, W), 0 to 1

FILL = 0.33
BOX_LINE = 0.75
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


def fit(size: tuple[int, int], cell: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (height, width) with `size`'s proportions that fits into `cell`."""
    scale = min(cell[0] / size[0], cell[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(image: RgbImage, size: tuple[int, int]) -> RgbImage:
    """Return `image` at (height, width), averaged when it shrinks and interpolated when not."""
    if image.shape[:2] == size:
        return image.copy()
    shrinks = size[0] < image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, size[::-1], interpolation=how).astype(np.uint8)


def draw(
    image: RgbImage,
    shapes: Sequence[Shape],
    colours: Mapping[str, Colour],
    size: tuple[int, int] | None = None,
) -> RgbImage:
    """Draw `shapes` on a copy of `image`.

    Args:
        image: (H, W, 3) uint8, RGB.
        shapes: in any order; larger ones are drawn below smaller ones.
        colours: per class name.
        size: (height, width) of the result; the image's own when None.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    height, width = size or image.shape[:2]
    line = _line_width(height, width)
    canvas = resize(image, (height, width)).astype(np.float32)
    below_first = sorted(shapes, key=lambda s: (not s.ignored, -_area(s.box)))
    for shape in below_first:
        colour = IGNORED if shape.ignored else colours[shape.class_name]
        _draw_region(canvas, shape, colour, line, image.shape[:2])
    scale = (width / image.shape[1], height / image.shape[0])
    boxes = [_scale(shape.box, scale) for shape in below_first]
    for shape, box in zip(below_first, boxes, strict=True):
        if not shape.ignored:
            _draw_box(canvas, box, colours[shape.class_name], line / 2)
    drawn = canvas.round().clip(0, 255).astype(np.uint8)
    tags = [
        Tag(s.tag, box, IGNORED if s.ignored else colours[s.class_name], s.ignored)
        for s, box in zip(below_first, boxes, strict=True)
    ]
    return draw_tags(drawn, tags)


def _draw_region(
    canvas: NDArray[np.float32], shape: Shape, colour: Colour, line: float, size: tuple[int, int]
) -> None:
    mask = _box_mask(shape.box, size) if shape.mask is None else shape.mask
    if shape.mask is None and not shape.ignored:
        return
    inside, outline = _soft_mask(mask, canvas.shape[:2], line * (0.6 if shape.ignored else 1))
    if shape.ignored:
        stripes = _stripes(canvas.shape[:2], line)
        _blend(canvas, (0, 0, 0), inside * HATCH_SHADE)
        _blend(canvas, colour, np.maximum(inside * stripes * HATCH_LINE, outline * 0.9))
    else:
        _blend(canvas, colour, np.maximum(inside * np.float32(FILL), outline))


def _soft_mask(mask: NDArray[np.bool_], size: tuple[int, int], line: float) -> tuple[Alpha, Alpha]:
    """Return how much of each pixel of the result is object, and how much is outline.

    The outline lies inside the mask, so that nothing outside the object changes; its width is given
    in pixels of the result.
    """
    # A frame of background closes the outline of an object that the image's edge cuts off.
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1] - 0.5
    width = line * mask.shape[0] / size[0]
    edge = np.clip(width - depth, 0, 1).astype(np.float32) * mask
    return _resize_alpha(mask.astype(np.float32), size), _resize_alpha(edge, size)


def _resize_alpha(alpha: Alpha, size: tuple[int, int]) -> Alpha:
    # Not cubic when it grows: that would swing below 0 and above 1.
    how = cv2.INTER_AREA if size[0] < alpha.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(alpha, size[::-1], interpolation=how).astype(np.float32)


def _stripes(size: tuple[int, int], line: float) -> Alpha:
    """Return anti-aliased diagonal stripes, a third as wide as the gaps between them."""
    period = max(6.0, line * 5)
    y, x = np.mgrid[: size[0], : size[1]]
    phase = np.abs((x + y) % period - period / 2)
    stripes: Alpha = np.clip(period / 8 - phase + 0.5, 0, 1).astype(np.float32)
    return stripes


def _draw_box(canvas: NDArray[np.float32], box: Box, colour: Colour, line: float) -> None:
    thickness = max(1, round(line))
    alpha = np.zeros(canvas.shape[:2], np.float32)
    x0, y0, x1, y1 = (round(v) for v in box)
    corner = (max(x0, x1 - 1), max(y0, y1 - 1))  # a box ends before its far edge
    cv2.rectangle(alpha, (x0, y0), corner, BOX_LINE, thickness)
    _blend(canvas, colour, alpha)


def _blend(canvas: NDArray[np.float32], colour: Colour, alpha: Alpha) -> None:
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not rows.size:
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = alpha[window][..., None]
    canvas[window] += (np.array(colour, np.float32) - canvas[window]) * share


def _box_mask(box: Box, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    x0, y0, x1, y1 = (max(0, round(v)) for v in box)
    mask[y0:y1, x0:x1] = True
    return mask


def _line_width(height: int, width: int) -> float:
    return max(1.2, min(height, width) / 170)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _scale(box: Box, scale: tuple[float, float]) -> Box:
    return box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]
