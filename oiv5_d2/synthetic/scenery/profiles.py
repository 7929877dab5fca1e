"""Vehicles seen from their side."""

from collections.abc import Callable

import numpy as np

from oiv5_d2.synthetic.scenery.canvas import Colour, Pen, Point, mix, tint
from oiv5_d2.synthetic.scenery.vehicles import (
    CHROME,
    DARK,
    GLASS,
    HEADLIGHT,
    PAINTS,
    RUBBER,
    SIZES,
    TAIL_LIGHT,
    choose_paint,
)

# Roof lines of cars: shares of length and height, from the boot to the bonnet.
_SALOON: tuple[Point, ...] = (
    (-0.49, 0.30), (-0.495, 0.56), (-0.46, 0.635), (-0.33, 0.67), (-0.20, 0.97), (-0.12, 1.0),
    (0.06, 1.0), (0.12, 0.97), (0.25, 0.66), (0.44, 0.58), (0.49, 0.48), (0.495, 0.30),
)  # fmt: skip
_HATCH: tuple[Point, ...] = (
    (-0.47, 0.30), (-0.485, 0.55), (-0.46, 0.70), (-0.37, 0.95), (-0.30, 1.0), (0.04, 1.0),
    (0.11, 0.96), (0.25, 0.68), (0.43, 0.59), (0.485, 0.48), (0.49, 0.30),
)  # fmt: skip
_ESTATE: tuple[Point, ...] = (
    (-0.49, 0.30), (-0.495, 0.60), (-0.47, 0.90), (-0.43, 0.98), (-0.36, 1.0), (0.04, 1.0),
    (0.10, 0.97), (0.22, 0.69), (0.43, 0.60), (0.485, 0.50), (0.49, 0.30),
)  # fmt: skip
_SHAPES = (
    (_SALOON, (-0.295, -0.17, 0.085, 0.20)),
    (_HATCH, (-0.425, -0.325, 0.075, 0.20)),
    (_ESTATE, (-0.44, -0.40, 0.070, 0.17)),
)
_LIMOUSINE: tuple[Point, ...] = tuple((x * (1.0 if abs(x) > 0.3 else 1.2), y) for x, y in _SALOON)


def paint_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint a vehicle of a kind in `SIZES` seen from its side."""
    _PROFILES[kind](pen, rng, kind)


def _wheel(pen: Pen, x: float, radius: float) -> None:
    pen.disc(x, radius, radius, RUBBER)
    pen.disc(x, radius, radius * 0.64, CHROME)
    pen.disc(x, radius, radius * 0.5, (120, 124, 130))
    turn = np.arange(5) * 2 * np.pi / 5
    for dx, dy in zip(np.sin(turn), np.cos(turn), strict=True):
        hub, rim = (x, radius), (x + 0.56 * radius * float(dx), radius + 0.56 * radius * float(dy))
        pen.limb([hub, rim], [radius * 0.16, radius * 0.2], CHROME)


def _car_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    length, _, height = SIZES[kind]
    paint = choose_paint(rng, kind)
    outline, glass = _SHAPES[rng.integers(len(_SHAPES))]
    if kind in ("Taxi", "Limousine"):
        outline, glass = _SALOON, _SHAPES[0][1]
    if kind == "Limousine":
        outline, glass = _LIMOUSINE, (-0.35, -0.20, 0.10, 0.235)
    body = np.array(outline) * (length, height)
    belt = 0.665 * height
    pen.box(-0.47 * length, 0.16, 0.47 * length, 0.34 * height, DARK, 0.08)
    pen.polygon(body, paint)
    _side_windows(pen, np.array(glass) * length, belt, 0.935 * height, paint)
    pen.box(-0.495 * length, 0.30 * height, 0.492 * length, 0.36 * height, tint(paint, 0.62))
    pen.limb([(-0.46 * length, belt - 0.04), (0.40 * length, belt - 0.1)], [0.025] * 2,
             tint(paint, 1.3))  # fmt: skip
    for x in (-0.03 * length, 0.16 * length):
        pen.box(x - 0.1, belt - 0.17, x + 0.08, belt - 0.13, tint(paint, 0.55), 0.02)
    pen.box(0.43 * length, 0.44 * height, 0.487 * length, 0.55 * height, HEADLIGHT, 0.05)
    pen.box(-0.493 * length, 0.46 * height, -0.45 * length, 0.60 * height, TAIL_LIGHT, 0.03)
    radius = 0.225 * height
    for x in (-0.30 * length, 0.31 * length):
        pen.disc(x, radius + 0.03, radius * 1.2, tint(paint, 0.25))
        _wheel(pen, x, radius)
    if kind == "Taxi":
        _taxi_marks(pen, length, height)


def _side_windows(pen: Pen, glass: np.ndarray, belt: float, top: float, paint: Colour) -> None:
    back, upper_back, upper_front, front = glass.tolist()
    pen.polygon([(back, belt), (upper_back, top), (upper_front, top), (front, belt)], GLASS)
    gleam = mix(GLASS, (220, 232, 240), 0.45)
    width = front - back
    pen.polygon(
        [
            (back + 0.55 * width, belt), (back + 0.68 * width, top),
            (back + 0.75 * width, top), (back + 0.64 * width, belt),
        ],
        gleam,
    )  # fmt: skip
    middle = (upper_back + upper_front) / 2
    for x in (middle - 0.02, middle + 0.55 * (upper_front - middle) + 0.25):
        pen.box(x - 0.045, belt, x + 0.045, top, tint(paint, 0.72))


def _taxi_marks(pen: Pen, length: float, height: float) -> None:
    pen.box(-0.28, height - 0.02, 0.18, height + 0.2, (250, 246, 226), 0.05)
    pen.box(-0.2, height + 0.05, 0.1, height + 0.13, DARK)
    for number in range(10):
        x = -0.22 * length + number * 0.2
        pen.box(x, 0.5 * height + 0.06 * (number % 2), x + 0.2, 0.5 * height + 0.06 * (number % 2)
                + 0.06, DARK)  # fmt: skip


def _van_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    length, _, height = SIZES[kind]
    paint = choose_paint(rng, kind)
    shape = [
        (-0.495, 0.17), (-0.5, 0.9), (-0.48, 0.98), (-0.44, 1.0), (0.18, 1.0), (0.24, 0.96),
        (0.36, 0.60), (0.47, 0.50), (0.498, 0.40), (0.498, 0.17),
    ]  # fmt: skip
    pen.polygon(np.array(shape) * (length, height), paint)
    cab = [(0.12, 0.60), (0.12, 0.92), (0.215, 0.92), (0.325, 0.60)]
    pen.polygon(np.array(cab) * (length, height), GLASS)
    if rng.random() < 0.5:
        for x in (-0.46, -0.18):
            pen.box(x * length, 0.6 * height, (x + 0.25) * length, 0.92 * height, GLASS, 0.06)
    else:
        stripe = PAINTS[rng.integers(len(PAINTS))]
        pen.box(-0.42 * length, 0.52 * height, 0.05 * length, 0.7 * height, stripe, 0.05)
    for x in (-0.20, 0.09):
        pen.box(x * length, 0.22 * height, x * length + 0.03, 0.95 * height, tint(paint, 0.65))
    pen.box(-0.498 * length, 0.17 * height, 0.498 * length, 0.24 * height, tint(paint, 0.5))
    pen.box(0.44 * length, 0.40 * height, 0.492 * length, 0.49 * height, HEADLIGHT, 0.05)
    pen.box(-0.5 * length, 0.40 * height, -0.475 * length, 0.58 * height, TAIL_LIGHT, 0.02)
    for x in (-0.31 * length, 0.32 * length):
        pen.disc(x, 0.39, 0.44, tint(paint, 0.25))
        _wheel(pen, x, 0.36)


def _bus_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    length, _, height = SIZES[kind]
    paint = PAINTS[rng.integers(len(PAINTS))]
    pen.box(-length / 2, 0.3, length / 2, height, paint, 0.3)
    pen.box(-length / 2, 0.3, length / 2, 0.75, tint(paint, 0.6), 0.1)
    pen.box(-length / 2 + 0.1, 1.4, length / 2 - 0.03, 2.65, DARK, 0.15)
    for x in np.arange(-length / 2 + 0.3, length / 2 - 2.2, 1.25):
        pen.box(float(x), 1.5, float(x) + 1.12, 2.55, GLASS, 0.06)
    pen.box(length / 2 - 1.9, 0.45, length / 2 - 0.9, 2.6, DARK, 0.05)
    pen.box(length / 2 - 1.82, 0.55, length / 2 - 1.44, 2.5, GLASS, 0.05)
    pen.box(length / 2 - 1.36, 0.55, length / 2 - 0.98, 2.5, GLASS, 0.05)
    pen.box(length / 2 - 0.7, 1.4, length / 2 - 0.05, 2.6, GLASS, 0.1)
    pen.box(-length / 2, 2.75, length / 2 - 0.2, 2.87, tint(paint, 1.25), 0.05)
    for x in (-length / 2 + 2.2, length / 2 - 2.6):
        pen.disc(x, 0.5, 0.56, DARK)
        _wheel(pen, x, 0.47)


def _truck_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    length, _, height = SIZES[kind]
    paint, cargo = choose_paint(rng, kind), (224, 222, 214)
    back, cab = -length / 2, length / 2 - 2.0
    pen.box(back, 0.55, length / 2 - 0.1, 0.95, DARK)
    pen.box(back, 0.95, cab - 0.12, height, cargo)
    for x in np.arange(back + 0.4, cab - 0.3, 0.7):
        pen.box(float(x), 1.0, float(x) + 0.05, height - 0.08, tint(cargo, 0.86))
    stripe = PAINTS[rng.integers(len(PAINTS))]
    pen.box(back + 0.5, 1.6, cab - 0.6, 2.3, stripe, 0.1)
    front = [(0.0, 0.5), (0.0, 2.65), (1.35, 2.65), (1.85, 1.65), (1.98, 1.5), (1.98, 0.5)]
    pen.polygon([(cab + x, y) for x, y in front], paint)
    window = [(0.45, 1.6), (0.45, 2.4), (1.25, 2.4), (1.65, 1.6)]
    pen.polygon([(cab + x, y) for x, y in window], GLASS)
    pen.box(cab + 1.75, 0.75, cab + 1.98, 1.0, HEADLIGHT, 0.04)
    for x in (back + 1.0, back + 2.05, cab + 0.95):
        pen.disc(x, 0.55, 0.58, DARK)
        _wheel(pen, x, 0.5)


def _motorcycle_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    paint = choose_paint(rng, kind)
    for x in (-0.68, 0.70):
        pen.disc(x, 0.32, 0.32, RUBBER)
        pen.disc(x, 0.32, 0.2, (130, 134, 138))
        pen.disc(x, 0.32, 0.07, DARK)
    pen.limb([(-0.68, 0.32), (-0.1, 0.4)], [0.1, 0.12], DARK)
    pen.limb([(0.70, 0.32), (0.42, 0.98)], [0.07, 0.07], CHROME)
    pen.box(-0.28, 0.26, 0.3, 0.58, (78, 80, 84), 0.1)
    pen.limb([(0.1, 0.3), (-0.75, 0.26)], [0.1, 0.12], CHROME)
    tank = [(-0.05, 0.62), (0.0, 0.86), (0.28, 0.92), (0.46, 0.78), (0.3, 0.6)]
    pen.polygon(tank, paint)
    pen.polygon([(-0.8, 0.62), (-0.86, 0.86), (-0.5, 0.78), (0.02, 0.76), (0.0, 0.58)], DARK)
    pen.polygon([(-0.9, 0.6), (-0.88, 0.76), (-0.5, 0.7), (-0.5, 0.56)], paint)
    pen.limb([(0.42, 0.98), (0.2, 1.06)], [0.06, 0.06], DARK)
    pen.disc(0.52, 0.86, 0.1, HEADLIGHT)


def _bicycle_profile(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    paint = choose_paint(rng, kind)
    for x in (-0.52, 0.54):
        pen.disc(x, 0.34, 0.34, RUBBER)
        pen.disc(x, 0.34, 0.29, (176, 178, 176))
        pen.disc(x, 0.34, 0.05, DARK)
    seat, crank, head = (-0.2, 0.88), (-0.06, 0.32), (0.36, 0.86)
    for chain in ([(-0.52, 0.34), crank, head, (-0.18, 0.8), (-0.52, 0.34)], [seat, crank],
                  [(0.54, 0.34), (0.34, 0.98)]):  # fmt: skip
        pen.limb(chain, [0.055] * len(chain), paint)
    pen.limb([(-0.34, 0.92), (-0.1, 0.92)], [0.09, 0.06], DARK)
    pen.limb([(0.34, 0.98), (0.5, 1.03)], [0.05, 0.05], DARK)
    pen.disc(*crank, 0.1, CHROME)


_PROFILES: dict[str, Callable[[Pen, np.random.Generator, str], None]] = {
    "Car": _car_profile,
    "Taxi": _car_profile,
    "Limousine": _car_profile,
    "Van": _van_profile,
    "Bus": _bus_profile,
    "Truck": _truck_profile,
    "Motorcycle": _motorcycle_profile,
    "Bicycle": _bicycle_profile,
}
