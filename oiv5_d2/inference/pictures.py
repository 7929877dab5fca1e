"""Detections drawn: objects on their image, or the image in grey with its objects in colour."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from oiv5_d2.drawing.colours import Colour
from oiv5_d2.drawing.shapes import RgbImage, Shape, draw
from oiv5_d2.inference.predictor import Detection


def draw_objects(
    image: RgbImage, found: Sequence[Detection], colours: Mapping[str, Colour]
) -> RgbImage:
    """Return a copy of an image with masks, boxes, classes and scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: in pixels of the image.
        colours: by class.
    """
    shapes = [
        Shape(one.class_name, one.box, one.mask, f"{one.class_name} {one.score:.2f}")
        for one in found
    ]
    return draw(image, shapes, colours, image.shape[:2])


def splash(
    image: RgbImage, found: Sequence[Detection], colours: Mapping[str, Colour] | None = None
) -> RgbImage:
    """Return a grey copy of an image, (H, W, 3), in which objects keep their colours."""
    del colours
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    shown = np.zeros(image.shape[:2], dtype=np.bool_)
    for one in found:
        mask = one.mask
        if mask is None:
            x0, y0, x1, y1 = (round(side) for side in one.box)
            shown[y0:y1, x0:x1] = True
        else:
            shown |= mask
    return np.where(shown[..., None], image, np.repeat(grey[..., None], 3, axis=2))
