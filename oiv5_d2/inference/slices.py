"""Large images in overlapping pieces, so that distant objects are seen larger.

As in slicing aided inference (Akyon et al., 2022): the model sees the whole image and each piece,
and what it finds is put together. What touches the edge of a piece that is not the image's edge is
left out: it is whole in the neighbouring piece, or in the image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.problems import wrong_setting

Window = tuple[int, int, int, int]  # x, y, width, height in pixels of the image
EDGE = 2.0  # pixels: a box so near to an edge touches it


@dataclass(frozen=True)
class Slices:
    """How images are cut.

    Attributes:
        side: of a piece in pixels; 0 cuts nothing. Smaller images are not cut.
        overlap: share of a piece that the next one shows as well, 0 to below 1.
    """

    side: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            Problem: SETTING.
        """
        if self.side < 0 or 0 < self.side < 32:
            raise wrong_setting("slices.side", self.side, "0, or at least 32 pixels")
        if not 0 <= self.overlap < 1:
            raise wrong_setting("slices.overlap", self.overlap, "at least 0 and below 1")


def windows_of(size: tuple[int, int], slices: Slices) -> list[Window]:
    """Return the whole image, and its pieces if it is larger than one.

    Args:
        size: (height, width) in pixels.
        slices: how it is cut.
    """
    height, width = size
    whole = [(0, 0, width, height)]
    if slices.side == 0 or max(size) <= slices.side:
        return whole
    columns, rows = _starts(width, slices), _starts(height, slices)
    side = slices.side
    return whole + [(x, y, min(side, width), min(side, height)) for y in rows for x in columns]


def cut(image: NDArray[Any], window: Window) -> NDArray[Any]:
    """Return a piece of an image, (H, W, ...)."""
    x, y, width, height = window
    return image[y : y + height, x : x + width]


def is_whole(box: tuple[float, ...], window: Window, size: tuple[int, int]) -> bool:
    """Return False if a box touches an edge of its piece that is inside the image.

    Args:
        box: xyxy_abs in pixels of the piece.
        window: the piece.
        size: (height, width) of the image.
    """
    x, y, width, height = window
    far_x, far_y = x + width < size[1], y + height < size[0]
    return not (
        (x > 0 and box[0] < EDGE)
        or (y > 0 and box[1] < EDGE)
        or (far_x and box[2] > width - EDGE)
        or (far_y and box[3] > height - EDGE)
    )


def shift(mask: NDArray[np.bool_], window: Window, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask of a piece as one of the whole image, (H, W)."""
    whole = np.zeros(size, dtype=np.bool_)
    cut(whole, window)[:] = mask
    return whole


def _starts(length: int, slices: Slices) -> list[int]:
    """Return where pieces begin along one side; they are spread evenly and reach the end."""
    if length <= slices.side:
        return [0]
    step = slices.side * (1 - slices.overlap)
    number = 1 + int(np.ceil((length - slices.side) / step))
    return [round(one) for one in np.linspace(0, length - slices.side, number)]
