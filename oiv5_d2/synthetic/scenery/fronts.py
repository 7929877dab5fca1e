"""Vehicles seen from the front and from behind."""

from collections.abc import Callable

import numpy as np

from oiv5_d2.synthetic.scenery.canvas import Colour, Pen, mix, tint
from oiv5_d2.synthetic.scenery.vehicles import (
    CHROME,
    DARK,
    GLASS,
    HEADLIGHT,
    PAINTS,
    PLATE,
    RUBBER,
    SIZES,
    TAIL_LIGHT,
    choose_paint,
)


def paint_end(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint a vehicle of a kind in `SIZES` seen from its front or from behind."""
    _ENDS[kind](pen, rng, kind)


def _car_end(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    _, width, height = SIZES[kind]
    paint, half = choose_paint(rng, kind), width / 2
    is_front = bool(rng.random() < 0.5)
    belt = (0.62 if kind != "Van" else 0.56) * height
    for x in (-half + 0.05, half - 0.27):
        pen.box(x, 0.0, x + 0.22, 0.45, RUBBER, 0.05)
    roof = half * (0.66 if kind != "Van" else 0.86)
    cabin = [(-half * 0.93, belt), (-roof, 0.95 * height), (-roof * 0.85, height),
             (roof * 0.85, height), (roof, 0.95 * height), (half * 0.93, belt)]  # fmt: skip
    pen.polygon(cabin, tint(paint, 0.9))
    glass = [(-half * 0.82, belt), (-roof * 0.86, 0.92 * height), (roof * 0.86, 0.92 * height),
             (half * 0.82, belt)]  # fmt: skip
    pen.polygon(glass, GLASS)
    shine = [(-0.1, belt), (0.12, 0.92 * height), (0.3, 0.92 * height), (0.12, belt)]
    pen.polygon(shine, mix(GLASS, (220, 232, 240), 0.35))
    for side in (-1, 1):
        pen.box(side * half * 0.95, belt - 0.02, side * (half + 0.14), belt + 0.14, DARK, 0.04)
    pen.box(-half, 0.2, half, belt + 0.03, paint, 0.14)
    pen.box(-half * 0.9, belt - 0.06, half * 0.9, belt - 0.01, tint(paint, 1.25), 0.02)
    _FACES[is_front](pen, half, belt, paint)
    if kind == "Taxi":
        pen.box(-0.25, height - 0.01, 0.25, height + 0.2, (250, 246, 226), 0.05)
        pen.box(-0.17, height + 0.05, 0.17, height + 0.13, DARK)


def _nose(pen: Pen, half: float, belt: float, paint: Colour) -> None:
    pen.box(-half * 0.5, belt * 0.5, half * 0.5, belt * 0.76, DARK, 0.06)
    pen.box(-half * 0.48, belt * 0.6, half * 0.48, belt * 0.64, CHROME)
    for side in (-1, 1):
        pen.box(side * half * 0.56, belt * 0.56, side * half * 0.95, belt * 0.8, CHROME, 0.06)
        pen.box(side * half * 0.6, belt * 0.6, side * half * 0.92, belt * 0.77, HEADLIGHT, 0.05)
    pen.box(-half, 0.2, half, belt * 0.42, tint(paint, 0.75), 0.1)
    pen.box(-half * 0.7, 0.22, half * 0.7, belt * 0.34, DARK, 0.04)
    pen.box(-0.26, belt * 0.36, 0.26, belt * 0.49, PLATE)


def _tail(pen: Pen, half: float, belt: float, paint: Colour) -> None:
    for side in (-1, 1):
        pen.box(side * half * 0.6, belt * 0.6, side * half * 0.98, belt * 0.86, TAIL_LIGHT, 0.04)
        pen.box(side * half * 0.7, belt * 0.62, side * half * 0.82, belt * 0.7, (250, 180, 90))
    pen.box(-half, 0.2, half, belt * 0.44, tint(paint, 0.7), 0.1)
    pen.box(-half * 0.58, belt * 0.5, half * 0.58, belt * 0.53, tint(paint, 0.55))
    pen.box(-0.26, belt * 0.56, 0.26, belt * 0.7, PLATE)


_FACES: dict[bool, Callable[[Pen, float, float, Colour], None]] = {True: _nose, False: _tail}


def _bus_end(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    _, width, height = SIZES[kind]
    paint, half = PAINTS[rng.integers(len(PAINTS))], width / 2
    for x in (-half + 0.1, half - 0.45):
        pen.box(x, 0.0, x + 0.35, 0.6, RUBBER, 0.05)
    pen.box(-half, 0.25, half, height, paint, 0.22)
    pen.box(-half * 0.92, 1.15, half * 0.92, 2.55, GLASS, 0.14)
    pen.polygon([(-0.2, 1.15), (0.2, 2.55), (0.5, 2.55), (0.1, 1.15)], tint(GLASS, 1.35))
    pen.box(-0.03, 1.15, 0.03, 2.55, DARK)
    pen.box(-half * 0.75, 2.64, half * 0.75, 2.95, DARK, 0.05)
    for number in range(7):
        x = -half * 0.5 + number * half * 0.15
        pen.box(x, 2.72, x + 0.11, 2.88, (250, 170, 40))
    for side in (-1, 1):
        pen.disc(side * half * 0.78, 0.78, 0.16, HEADLIGHT)
        pen.box(side * half, 1.6, side * (half + 0.25), 2.3, DARK, 0.05)
    pen.box(-half, 0.25, half, 0.52, tint(paint, 0.55), 0.08)
    pen.box(-0.3, 0.36, 0.3, 0.5, PLATE)


def _truck_end(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    _, width, height = SIZES[kind]
    paint, half = choose_paint(rng, kind), width / 2
    for x in (-half + 0.08, half - 0.48):
        pen.box(x, 0.0, x + 0.4, 0.9, RUBBER, 0.06)
    pen.box(-half, 0.8, half, height, (216, 214, 206))
    pen.box(-half * 0.93, 0.4, half * 0.93, 2.75, paint, 0.15)
    pen.box(-half * 0.82, 1.55, half * 0.82, 2.45, GLASS, 0.1)
    pen.box(-half * 0.6, 0.8, half * 0.6, 1.4, DARK, 0.06)
    for y in (0.92, 1.08, 1.24):
        pen.box(-half * 0.56, y, half * 0.56, y + 0.05, CHROME)
    for side in (-1, 1):
        pen.box(side * half * 0.66, 0.85, side * half * 0.9, 1.1, HEADLIGHT, 0.04)
        pen.box(side * half * 0.95, 1.6, side * (half + 0.2), 2.3, DARK, 0.05)
    pen.box(-half * 0.93, 0.4, half * 0.93, 0.68, CHROME, 0.06)


_ENDS: dict[str, Callable[[Pen, np.random.Generator, str], None]] = {
    "Car": _car_end,
    "Taxi": _car_end,
    "Van": _car_end,
    "Limousine": _car_end,
    "Bus": _bus_end,
    "Truck": _truck_end,
}
