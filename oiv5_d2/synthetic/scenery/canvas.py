"""The canvas, which remembers whose every pixel is, and the pen that draws on it.

Everything is drawn as filled polygons, far things first. Each polygon writes its colour into the
image and its owner's number into a map of the same size, so that in the end the map holds the
*visible* part of every thing: a painter's algorithm that keeps its books.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[float, float, float]  # red, green, blue, each 0-255
Point: TypeAlias = tuple[float, float]

NOBODY = 0  # owns poles, walls and the road: all that is not annotated
_SHIFT = 4  # bits of sub-pixel precision that OpenCV is given
_TURN = np.linspace(0.0, 2.0 * np.pi, 29)[:-1]
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def tint(colour: Colour, factor: float) -> Colour:
    """Return the colour made darker (factor < 1) or lighter (> 1), kept within 0-255."""
    r, g, b = (min(255.0, max(0.0, channel * factor)) for channel in colour)
    return r, g, b


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour ``share`` (0-1) of the way from the first to the second."""
    r, g, b = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return r, g, b


def ellipse(x: float, y: float, rx: float, ry: float) -> NDArray[np.float64]:
    """Return the outline of an upright ellipse, (28, 2)."""
    return _CIRCLE * (rx, ry) + (x, y)


def rounded(x0: float, y0: float, x1: float, y1: float, radius: float) -> NDArray[np.float64]:
    """Return the outline of a rectangle with round corners, (28, 2)."""
    radius = min(radius, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    left, right, low, high = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    centres = np.where(_CIRCLE > 0, (right - radius, high - radius), (left + radius, low + radius))
    return centres + _CIRCLE * radius


@dataclass
class Canvas:
    """An unfinished image.

    Attributes:
        image: (H, W, 3) RGB, several times larger than the image that comes out of it.
        owners: (H, W) the number of the thing seen at each pixel, 0 where nobody owns it.
        extents: owner -> [x0, y0, x1, y1] of all that was drawn for it, also beyond the edges.
    """

    image: Pixels
    owners: Pixels
    extents: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def blank(cls, height: int, width: int) -> "Canvas":
        """Return a black canvas of (height, width) pixels that nobody owns."""
        return cls(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8))

    def fill(self, points: NDArray[np.float64], colour: Colour, owner: int = NOBODY) -> None:
        """Fill the polygon ``points`` ((N, 2) x, y in pixels) and enter its owner."""
        fixed = [np.round(points * (1 << _SHIFT)).astype(np.int32)]
        cv2.fillPoly(self.image, fixed, colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.owners, fixed, owner, cv2.LINE_8, _SHIFT)
        if owner != NOBODY:
            (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
            old = self.extents.setdefault(owner, [x0, y0, x1, y1])
            old[:] = min(old[0], x0), min(old[1], y0), max(old[2], x1), max(old[3], y1)

    def fill_all(self, polygons: NDArray[np.float64], colour: Colour) -> None:
        """Fill many polygons (K, N, 2) that do not overlap, all of one colour and nobody's."""
        fixed = list(np.round(polygons * (1 << _SHIFT)).astype(np.int32))
        if fixed:
            cv2.fillPoly(self.image, fixed, colour, cv2.LINE_AA, _SHIFT)
            cv2.fillPoly(self.owners, fixed, NOBODY, cv2.LINE_8, _SHIFT)

    def window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """Return the (rows, columns) of a rectangle, clipped to the canvas; possibly empty."""
        # OpenCV fills the pixels that a polygon's edge touches too: one more on each side.
        height, width = self.owners.shape
        top, bottom = (min(height, max(0, int(y))) for y in (y0 - 1, y1 + 2))
        left, right = (min(width, max(0, int(x))) for x in (x0 - 1, x1 + 2))
        return slice(top, bottom), slice(left, right)

    def darken(self, points: NDArray[np.float64], share: float, softness: float) -> None:
        """Lay a soft shadow of the polygon's shape; ``softness`` is its blur in pixels."""
        (x0, y0), (x1, y1) = points.min(axis=0) - 2 * softness, points.max(axis=0) + 2 * softness
        rows, columns = self.window(x0, y0, x1, y1)
        patch = self.image[rows, columns]
        if patch.size == 0:
            return
        stain = np.zeros(patch.shape[:2], np.uint8)
        moved = np.round((points - (columns.start, rows.start)) * (1 << _SHIFT))
        cv2.fillPoly(stain, [moved.astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
        reach = 2 * int(softness) + 1
        soft = cv2.blur(cv2.blur(stain, (reach, reach)), (reach, reach))
        keep = 256 - (soft.astype(np.uint16) * int(share * 256) >> 8)
        patch[:] = (patch * keep[..., None]) >> 8

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Add light that fades from (x, y) to nothing at ``radius``."""
        rows, columns = self.window(x - radius, y - radius, x + radius, y + radius)
        patch = self.image[rows, columns]
        if patch.size == 0:
            return
        dy = (np.arange(rows.start, rows.stop) - y)[:, None] / radius
        dx = (np.arange(columns.start, columns.stop) - x)[None] / radius
        light = np.clip(1.0 - (dx * dx + dy * dy), 0.0, 1.0) ** 2 * strength
        patch[:] = np.clip(patch + light[..., None] * colour, 0, 255).astype(np.uint8)

    def model(self, owner: int, across: float, down: float, grain: NDArray[np.float32]) -> None:
        """Give a flat thing body: lit from one side, darker below, with a grainy surface.

        Args:
            owner: whose pixels.
            across: change of brightness from its left to its right edge, as a share.
            down: change of brightness from its upper to its lower edge, as a share.
            grain: (h, w) factors around 0, as large as the canvas at least.
        """
        if owner not in self.extents:
            return
        rows, columns = self.window(*self.extents[owner])
        patch, mine = self.image[rows, columns], self.owners[rows, columns] == owner
        height, width = mine.shape
        if mine.size == 0:
            return
        slope_x = np.linspace(-across / 2, across / 2, width, dtype=np.float32)
        slope_y = np.linspace(-down / 3, down, height, dtype=np.float32)
        factor = 1.0 + slope_x[None] - slope_y[:, None] + grain[:height, :width]
        bright = np.clip(128.5 * factor, 0, 255).astype(np.uint8)
        lit = cv2.multiply(patch, cv2.merge([bright] * 3), scale=1 / 128)
        np.copyto(patch, lit, where=mine[..., None])


@dataclass(frozen=True)
class Pen:
    """Draws in a thing's own frame: origin where it stands, x right, y up, in its own units.

    Attributes:
        canvas: where to.
        x: canvas column of the origin.
        y: canvas row of the origin.
        scale: canvas pixels per unit.
        owner: whose pixels these are.
        mirror: -1 swaps left and right.
    """

    canvas: Canvas
    x: float
    y: float
    scale: float
    owner: int = NOBODY
    mirror: float = 1.0

    def on_behalf_of(self, owner: int) -> "Pen":
        """Return the same pen for another owner."""
        return replace(self, owner=owner)

    def moved(self, x: float, y: float, scale: float = 1.0) -> "Pen":
        """Return a pen whose origin is this pen's point (x, y), its unit ``scale`` of this one."""
        (px, py) = self.pixels([(x, y)])[0]
        return replace(self, x=float(px), y=float(py), scale=self.scale * scale)

    def pixels(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points, (N, 2) in own units, as canvas pixels."""
        stretch = (self.scale * self.mirror, -self.scale)
        return np.asarray(points, dtype=np.float64) * stretch + (self.x, self.y)

    def polygon(self, points: Sequence[Point] | NDArray[np.float64], colour: Colour) -> None:
        """Fill a polygon."""
        self.canvas.fill(self.pixels(points), colour, self.owner)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, colour: Colour, radius: float = 0.0
    ) -> None:
        """Fill a rectangle, its corners rounded by ``radius``."""
        if radius > 0:
            self.polygon(rounded(x0, y0, x1, y1, radius), colour)
        else:
            self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, x: float, y: float, rx: float, colour: Colour, ry: float | None = None) -> None:
        """Fill a circle, or an ellipse when ``ry`` is given."""
        self.polygon(ellipse(x, y, rx, rx if ry is None else ry), colour)

    def limb(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """Draw a chain of round-ended, tapering pieces, one width a point: a leg, a pole."""
        for (start, end), (w0, w1) in zip(
            pairwise(points),
            pairwise(widths),
            strict=True,
        ):
            self.polygon(_taper(start, end, w0 / 2, w1 / 2), colour)
        for (x, y), width in zip(points, widths, strict=True):
            self.disc(x, y, width / 2, colour)

    def shadow(self, outline: NDArray[np.float64], share: float, softness: float) -> None:
        """Lay a soft shadow on what is already there; it belongs to nobody."""
        self.canvas.darken(self.pixels(outline), share, max(1.0, softness * self.scale))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Add a fading light around (x, y)."""
        ((px, py),) = self.pixels([(x, y)])
        self.canvas.glow(float(px), float(py), radius * self.scale, colour, strength)


def _taper(start: Point, end: Point, r0: float, r1: float) -> NDArray[np.float64]:
    along = np.subtract(end, start)
    length = float(np.hypot(*along)) or 1.0
    across = np.array([-along[1], along[0]]) / length
    a, b = np.asarray(start), np.asarray(end)
    return np.stack([a + across * r0, b + across * r1, b - across * r1, a - across * r0])
