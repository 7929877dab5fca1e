"""Facades in perspective: rows of windows over a shop."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.synthetic.scenery.backdrop import Light
from oiv5_d2.synthetic.scenery.camera import Camera
from oiv5_d2.synthetic.scenery.canvas import Canvas, Colour, mix, tint

WALLS: tuple[Colour, ...] = (
    (176, 92, 70), (202, 184, 152), (146, 142, 138), (190, 150, 116), (128, 74, 60),
    (214, 206, 190), (108, 116, 128), (166, 160, 128), (196, 168, 160), (140, 150, 144),
)  # fmt: skip
FRONTS: tuple[Colour, ...] = (
    (150, 36, 40), (34, 84, 70), (38, 58, 110), (190, 140, 50), (90, 50, 86), (70, 74, 80),
)  # fmt: skip
SHOP = 3.4  # metres: height of the ground floor


@dataclass(frozen=True)
class Wall:
    """An upright wall over the ground line from ``start`` to ``end``."""

    camera: Camera
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length(self) -> float:
        """Metres along the ground."""
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))

    def quads(self, rects: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixels (N, 4, 2) of rectangles (N, 4): u0, u1, y0, y1 in metres."""
        u = rects[:, [0, 1, 1, 0]] / self.length
        y = rects[:, [2, 2, 3, 3]]
        x = self.start[0] + (self.end[0] - self.start[0]) * u
        z = self.start[1] + (self.end[1] - self.start[1]) * u
        points = np.stack([x, y, z], axis=2).reshape(-1, 3)
        return self.camera.project(points).reshape(-1, 4, 2)

    def fill(self, canvas: Canvas, rects: NDArray[np.float64], colour: Colour) -> None:
        """Fill rectangles (N, 4) on the wall, which do not overlap."""
        canvas.fill_all(self.quads(rects), colour)

    def fill_one(
        self, canvas: Canvas, u0: float, u1: float, y0: float, y1: float, colour: Colour
    ) -> None:
        """Fill one rectangle on the wall."""
        self.fill(canvas, np.array([[u0, u1, y0, y1]]), colour)


def choose_wall(rng: np.random.Generator, light: Light, distance: float) -> Colour:
    """Choose a wall's colour, paler with distance (in metres)."""
    wall = tint(WALLS[rng.integers(len(WALLS))], float(rng.uniform(0.85, 1.1)))
    return mix(wall, light.sky_low, min(0.6, distance / 110))


def paint_house(
    canvas: Canvas, rng: np.random.Generator, light: Light, wall: Wall, colour: Colour
) -> None:
    """Paint one facade of two to five storeys over a shop."""
    storeys, storey = int(rng.integers(2, 6)), float(rng.uniform(2.9, 3.5))
    height, length = SHOP + 0.4 + storeys * storey, wall.length
    wall.fill_one(canvas, 0, length, 0, height, colour)
    wall.fill_one(canvas, 0, length, height - 0.35, height + 0.15, tint(colour, 0.72))
    wall.fill_one(canvas, 0, length, SHOP + 0.05, SHOP + 0.3, tint(colour, 1.18))
    columns = max(1, int(length / float(rng.uniform(1.8, 2.6))))
    floor, column = np.divmod(np.arange(storeys * columns), columns)
    u = (column + 0.5) * length / columns
    y = SHOP + 1.1 + floor * storey
    half, tall = float(rng.uniform(0.42, 0.6)), float(rng.uniform(1.5, 1.9))
    frames = np.stack([u - half - 0.12, u + half + 0.12, y - 0.12, y + tall + 0.12], axis=1)
    panes = np.stack([u - half, u + half, y, y + tall], axis=1)
    is_lit = rng.random(len(u)) < light.lit_windows
    wall.fill(canvas, frames, tint(colour, 1.25))
    dark = mix((48, 58, 70), light.sky_high, float(rng.uniform(0.1, 0.4)))
    wall.fill(canvas, panes[~is_lit], dark)
    upper = panes[~is_lit] * (1, 1, 1, 1) + (0, 0, tall * 0.62, 0)
    wall.fill(canvas, upper, mix(dark, light.sky_low, 0.25))
    wall.fill(canvas, panes[is_lit], (250, 214, 140))
    _paint_shop(canvas, rng, light, wall)


def _paint_shop(canvas: Canvas, rng: np.random.Generator, light: Light, wall: Wall) -> None:
    colour, length = FRONTS[rng.integers(len(FRONTS))], wall.length
    is_lit = bool(rng.random() < light.lit_windows + 0.1)
    inside: Colour = (250, 224, 170) if is_lit else (60, 68, 76)
    door = float(rng.uniform(0.8, max(0.9, length - 2.0)))
    wall.fill_one(canvas, 0.3, length - 0.3, 0.0, 3.2, tint(colour, 0.55))
    wall.fill_one(canvas, 0.55, length - 0.55, 0.6, 2.5, inside)
    goods = np.arange(0.9, length - 0.9, 0.55)
    tall = rng.uniform(0.8, 1.5, len(goods))
    rects = np.stack([goods, goods + 0.3, np.full(len(goods), 0.6), tall], axis=1)
    wall.fill(canvas, rects, mix(inside, colour, 0.4))
    wall.fill_one(canvas, door, door + 1.0, 0.0, 2.4, tint(colour, 0.85))
    wall.fill_one(canvas, door + 0.15, door + 0.85, 0.9, 2.2, tint(inside, 1.1))
    wall.fill_one(canvas, 0.2, length - 0.2, 2.6, 3.25, colour)
    u = np.arange(0.3 * length, 0.7 * length, 0.34)
    letters = np.stack([u, u + 0.2, np.full(len(u), 2.78), np.full(len(u), 3.08)], axis=1)
    wall.fill(canvas, letters, tint(colour, 2.2))
