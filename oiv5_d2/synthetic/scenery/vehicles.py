"""What all vehicles share: their measures, their paints, their colours.

Vehicles are drawn in metres: the origin is on the ground under the middle; x runs along the vehicle
(in profile, driving to the right) or across it.
"""

from typing import NamedTuple

import numpy as np

from oiv5_d2.synthetic.scenery.canvas import Colour, tint

PAINTS: tuple[Colour, ...] = (
    (186, 24, 30), (24, 66, 140), (226, 228, 230), (34, 36, 40), (150, 154, 158), (92, 96, 102),
    (22, 92, 70), (208, 176, 120), (222, 110, 34), (110, 26, 50), (80, 140, 190),
)  # fmt: skip
TAXI_YELLOW: Colour = (246, 190, 24)
GLASS: Colour = (70, 88, 104)
RUBBER: Colour = (24, 24, 26)
CHROME: Colour = (196, 200, 204)
DARK: Colour = (36, 38, 42)
HEADLIGHT: Colour = (246, 246, 226)
TAIL_LIGHT: Colour = (176, 18, 24)
PLATE: Colour = (232, 232, 214)


class Size(NamedTuple):
    """A vehicle's measures in metres."""

    length: float
    width: float
    height: float


SIZES: dict[str, Size] = {
    "Car": Size(4.3, 1.8, 1.48),
    "Taxi": Size(4.5, 1.8, 1.5),
    "Van": Size(4.9, 2.0, 2.15),
    "Limousine": Size(7.2, 1.9, 1.5),
    "Bus": Size(9.5, 2.5, 3.1),
    "Truck": Size(7.6, 2.5, 3.3),
    "Motorcycle": Size(2.1, 0.8, 1.15),
    "Bicycle": Size(1.75, 0.6, 1.05),
}


def choose_paint(rng: np.random.Generator, kind: str) -> Colour:
    """Choose the colour of a vehicle of a kind in `SIZES`."""
    if kind == "Taxi":
        return TAXI_YELLOW
    if kind == "Limousine":
        return (30, 30, 34)
    return tint(PAINTS[rng.integers(len(PAINTS))], float(rng.uniform(0.85, 1.15)))
