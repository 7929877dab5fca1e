"""Traffic lights and traffic signs. What is annotated is the housing and the plate, not the pole.

Both are drawn in a frame of height 1 around their own centre: the housing or the plate reaches
from y = -0.5 to y = 0.5.
"""

from collections.abc import Callable

import numpy as np

from oiv5_d2.synthetic.scenery.canvas import NOBODY, Colour, Pen, Point, tint

RED: Colour = (196, 24, 32)
WHITE: Colour = (240, 240, 236)
BLUE: Colour = (24, 82, 170)
BLACK: Colour = (24, 24, 26)
YELLOW: Colour = (244, 192, 24)
LAMPS: tuple[Colour, ...] = ((255, 52, 40), (255, 186, 40), (64, 240, 130))
HOUSINGS: tuple[Colour, ...] = ((30, 32, 34), (38, 50, 44), (52, 52, 40), (44, 44, 48))
ASPECT = 0.46  # a housing's width as a share of its height
GREY_POLES: tuple[Colour, ...] = ((120, 124, 128), (84, 88, 90), (150, 150, 148), (60, 62, 64))


def paint_traffic_light(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint a housing with three lamps, one of them lit (now and then red and yellow)."""
    half = ASPECT / 2
    housing = tint(HOUSINGS[rng.integers(len(HOUSINGS))], float(rng.uniform(0.8, 1.3)))
    if rng.random() < 0.35:
        edge = YELLOW if rng.random() < 0.4 else WHITE
        pen.box(-half, -0.5, half, 0.5, edge, 0.1)
        pen.box(-half + 0.03, -0.47, half - 0.03, 0.47, housing, 0.08)
    else:
        pen.box(-half, -0.5, half, 0.5, housing, 0.08)
        pen.box(-half + 0.02, -0.48, -half + 0.05, 0.48, tint(housing, 1.7), 0.01)
    lit = int(rng.choice(3, p=[0.45, 0.12, 0.43]))
    for number, y in enumerate((0.315, 0.0, -0.315)):
        _lamp(pen, y, LAMPS[number], number == lit, housing)
    pen.glow(0.0, 0.315 * (1 - lit), 0.42, LAMPS[lit], 0.55)


def _lamp(pen: Pen, y: float, colour: Colour, is_lit: bool, housing: Colour) -> None:
    pen.disc(0.0, y + 0.012, 0.152, tint(housing, 0.35))
    pen.disc(0.0, y, 0.130, colour if is_lit else tint(colour, 0.26))
    if is_lit:
        pen.disc(0.0, y, 0.075, tint(colour, 1.5))
    else:
        pen.disc(-0.04, y + 0.045, 0.03, tint(colour, 0.5))
    visor = [(-0.155, 0.03), (-0.15, 0.13), (0.0, 0.172), (0.15, 0.13), (0.155, 0.03)]
    brim = [(0.13, 0.07), (0.0, 0.125), (-0.13, 0.07)]
    pen.polygon([(x, y + dy) for x, dy in (*visor, *brim)], tint(housing, 0.6))


def paint_light_support(pen: Pen, rng: np.random.Generator, depth: float, top: float) -> None:
    """Paint what holds a traffic light: a pole down to the ground, or an arm or cable from above.

    Args:
        pen: the light's own pen; nothing of this is the light's.
        rng: chooses among them.
        depth: how far below the light's centre the ground is, in its heights.
        top: how far above the light's centre the image ends, in its heights.
    """
    pen = pen.on_behalf_of(NOBODY)
    colour = GREY_POLES[rng.integers(len(GREY_POLES))]
    if rng.random() < 0.6:
        pen.box(-0.055, -depth, 0.055, 0.42, colour)
        pen.box(-0.055, -depth, -0.025, 0.42, tint(colour, 1.25))
        pen.box(-0.11, -depth, 0.11, -depth + 0.12, tint(colour, 0.8))
        pen.shadow(np.array([(-0.1, -depth), (0.1, -depth), (0.6, -depth - 0.05)]), 0.4, 0.03)
        return
    if rng.random() < 0.5:
        reach = float(rng.choice([-9.0, 9.0]))
        pen.limb([(0.0, 0.62), (reach, 0.8)], [0.09, 0.13], colour)
    else:
        pen.limb([(-9.0, 0.95), (0.0, 0.66), (9.0, 0.95)], [0.03, 0.03, 0.03], tint(colour, 0.5))
    pen.limb([(0.0, 0.4), (0.0, min(0.62, top + 1.0))], [0.05, 0.05], tint(colour, 0.8))


def paint_sign(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint a plate: a stop sign, or for a plain traffic sign one of the other shapes."""
    if kind == "Stop sign":
        _stop(pen, rng)
    else:
        _PLATES[rng.integers(len(_PLATES))](pen, rng)


def paint_sign_pole(pen: Pen, rng: np.random.Generator, depth: float) -> None:
    """Paint the pole of a sign, ``depth`` sign heights down to the ground."""
    pen = pen.on_behalf_of(NOBODY)
    colour = GREY_POLES[rng.integers(len(GREY_POLES))]
    pen.box(-0.045, -depth, 0.045, 0.3, colour)
    pen.box(-0.045, -depth, -0.015, 0.3, tint(colour, 1.3))
    pen.shadow(np.array([(-0.1, -depth), (0.1, -depth), (0.6, -depth - 0.06)]), 0.4, 0.03)


def _regular(corners: int, radius: float, turn: float = 0.0) -> np.ndarray:
    angles = (np.arange(corners) + 0.5) * 2 * np.pi / corners + turn
    return np.stack([radius * np.sin(angles), radius * np.cos(angles)], axis=1)


def _stop(pen: Pen, rng: np.random.Generator) -> None:
    pen.polygon(_regular(8, 0.541), WHITE)
    pen.polygon(_regular(8, 0.495), tint(RED, float(rng.uniform(0.85, 1.1))))
    for letter, x in zip("STOP", (-0.30, -0.10, 0.11, 0.31), strict=True):
        _letter(pen, letter, x, 0.0, 0.3)


_LETTERS: dict[str, tuple[tuple[Point, ...], ...]] = {
    "S": (((0.26, 0.4), (-0.1, 0.5), (-0.26, 0.25), (0.22, -0.2), (0.05, -0.5), (-0.28, -0.4)),),
    "T": (((-0.3, 0.46), (0.3, 0.46)), ((0.0, 0.46), (0.0, -0.5))),
    "O": (((0.0, 0.5), (-0.26, 0.2), (-0.26, -0.2), (0.0, -0.5), (0.26, -0.2), (0.26, 0.2),
           (0.0, 0.5)),),
    "P": (((-0.22, -0.5), (-0.22, 0.46), (0.15, 0.46), (0.26, 0.2), (0.15, 0.0), (-0.22, 0.0)),),
    "3": (((-0.22, 0.46), (0.24, 0.4), (0.0, 0.06), (0.26, -0.25), (0.0, -0.5), (-0.26, -0.4)),),
    "5": (((0.24, 0.48), (-0.2, 0.48), (-0.22, 0.06), (0.15, 0.1), (0.24, -0.25), (0.0, -0.5),
           (-0.26, -0.4)),),
    "0": (((0.0, 0.5), (-0.24, 0.2), (-0.24, -0.2), (0.0, -0.5), (0.24, -0.2), (0.24, 0.2),
           (0.0, 0.5)),),
}  # fmt: skip


def _letter(pen: Pen, letter: str, x: float, y: float, size: float, colour: Colour = WHITE) -> None:
    for stroke in _LETTERS[letter]:
        points = [(x + size * 0.8 * dx, y + size * dy) for dx, dy in stroke]
        pen.limb(points, [size * 0.2] * len(points), colour)


def _limit(pen: Pen, rng: np.random.Generator) -> None:
    pen.disc(0.0, 0.0, 0.5, RED)
    pen.disc(0.0, 0.0, 0.385, WHITE)
    _letter(pen, "35"[rng.integers(2)], -0.14, 0.0, 0.38, BLACK)
    _letter(pen, "0", 0.15, 0.0, 0.38, BLACK)


def _no_entry(pen: Pen, rng: np.random.Generator) -> None:
    pen.disc(0.0, 0.0, 0.5, WHITE)
    pen.disc(0.0, 0.0, 0.475, RED)
    pen.box(-0.34, -0.085, 0.34, 0.085, WHITE)


def _warning(pen: Pen, rng: np.random.Generator) -> None:
    ground = WHITE if rng.random() < 0.6 else YELLOW
    pen.polygon([(-0.56, -0.47), (0.56, -0.47), (0.03, 0.5), (-0.03, 0.5)], RED)
    pen.polygon([(-0.39, -0.37), (0.39, -0.37), (0.0, 0.3)], ground)
    if rng.random() < 0.5:
        pen.box(-0.045, -0.16, 0.045, 0.12, BLACK, 0.03)
        pen.disc(0.0, -0.26, 0.055, BLACK)
    else:
        pen.limb([(0.0, -0.02), (-0.02, -0.16), (-0.1, -0.31)], [0.1, 0.1, 0.05], BLACK)
        pen.limb([(-0.02, -0.16), (0.09, -0.31)], [0.08, 0.05], BLACK)
        pen.disc(0.01, 0.07, 0.05, BLACK)


def _give_way(pen: Pen, rng: np.random.Generator) -> None:
    pen.polygon([(-0.57, 0.47), (0.57, 0.47), (0.03, -0.5), (-0.03, -0.5)], RED)
    pen.polygon([(-0.37, 0.35), (0.37, 0.35), (0.0, -0.27)], WHITE)


def _command(pen: Pen, rng: np.random.Generator) -> None:
    pen.disc(0.0, 0.0, 0.5, WHITE)
    pen.disc(0.0, 0.0, 0.465, BLUE)
    side = float(rng.choice([-1.0, 1.0]))
    pen.limb([(-0.22 * side, -0.12), (0.1 * side, -0.12), (0.1 * side, 0.08)], [0.1] * 3, WHITE)
    head = [(-0.1, 0.06), (0.3, 0.06), (0.1, 0.3)]
    pen.polygon([(x * side, y) for x, y in head], WHITE)


def _parking(pen: Pen, rng: np.random.Generator) -> None:
    pen.box(-0.45, -0.5, 0.45, 0.5, WHITE, 0.08)
    pen.box(-0.41, -0.46, 0.41, 0.46, BLUE, 0.06)
    _letter(pen, "P", 0.02, 0.0, 0.6)


def _crossing(pen: Pen, rng: np.random.Generator) -> None:
    pen.box(-0.5, -0.5, 0.5, 0.5, BLUE, 0.07)
    pen.polygon([(-0.38, -0.36), (0.38, -0.36), (0.0, 0.36)], WHITE)
    pen.limb([(0.0, 0.02), (-0.02, -0.12), (-0.12, -0.3)], [0.09, 0.09, 0.05], BLACK)
    pen.limb([(-0.02, -0.12), (0.1, -0.3)], [0.07, 0.05], BLACK)
    pen.disc(0.01, 0.12, 0.055, BLACK)


def _diamond(pen: Pen, rng: np.random.Generator) -> None:
    pen.polygon(_regular(4, 0.5, np.pi / 4), BLACK)
    pen.polygon(_regular(4, 0.475, np.pi / 4), YELLOW)
    pen.limb([(0.0, -0.26), (0.0, 0.1)], [0.1, 0.1], BLACK)
    pen.polygon([(-0.14, 0.06), (0.14, 0.06), (0.0, 0.28)], BLACK)


_PLATES: tuple[Callable[[Pen, np.random.Generator], None], ...] = (
    _limit, _no_entry, _warning, _give_way, _command, _parking, _crossing, _diamond, _warning,
    _limit,
)  # fmt: skip
