"""Masks as outlines for SVG."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.4  # pixels of the drawing by which an outline may be off


def to_path(mask: NDArray[np.bool_], scale: float, corner: tuple[int, int] = (0, 0)) -> str:
    """Return the outlines of a mask and of its holes as the data of an SVG path.

    To be filled by the even-odd rule. A mask without a pixel has an empty path.

    Args:
        mask: (H, W).
        scale: pixels of the drawing per pixel of the mask.
        corner: x and y of the mask in its image, if it was cut out.
    """
    pixels = np.ascontiguousarray(mask, dtype=np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner)
    return "".join(
        _ring(cv2.approxPolyDP(one, TOLERANCE / scale, closed=True)[:, 0], scale)
        for one in contours
    )


def _ring(points: NDArray[Any], scale: float) -> str:
    # A contour goes through the middles of pixels, which are half a pixel from their corners.
    corners = (points + 0.5) * scale
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in corners) + "Z"
