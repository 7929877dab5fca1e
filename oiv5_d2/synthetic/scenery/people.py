"""People: from the front, from behind or in profile, standing or walking, each dressed by chance.

A person is drawn in a frame of height 1: feet at y = 0, crown at y = 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from oiv5_d2.synthetic.scenery.canvas import Colour, Pen, Point, mix, tint

SKINS: tuple[Colour, ...] = (
    (240, 204, 176), (232, 188, 150), (224, 172, 125), (198, 134, 90), (141, 85, 54), (92, 58, 40),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (28, 22, 20), (58, 38, 26), (96, 62, 34), (170, 120, 62), (205, 175, 110), (150, 148, 146),
)  # fmt: skip
TOPS: tuple[Colour, ...] = (
    (196, 40, 44), (34, 84, 160), (236, 232, 224), (32, 34, 40), (52, 130, 84), (238, 186, 52),
    (120, 60, 130), (226, 120, 52), (120, 168, 204), (112, 112, 118), (214, 130, 150), (60, 92, 90),
)  # fmt: skip
BOTTOMS: tuple[Colour, ...] = (
    (38, 52, 88), (60, 84, 128), (30, 30, 34), (120, 104, 78), (84, 84, 90), (168, 150, 118),
)  # fmt: skip
SHOES: tuple[Colour, ...] = ((28, 26, 26), (232, 230, 226), (110, 70, 44), (170, 40, 40))


class Build(NamedTuple):
    """What sets one kind of person apart, as shares of the height."""

    metres: tuple[float, float]  # how tall, from - to
    head: float  # half height of the head
    shoulders: float  # half width
    hips: float
    long_hair: float  # how often, 0-1
    skirt: float  # how often, 0-1


BUILDS: dict[str, Build] = {
    "Man": Build((1.70, 1.92), 0.066, 0.128, 0.088, 0.05, 0.0),
    "Woman": Build((1.58, 1.78), 0.068, 0.108, 0.095, 0.85, 0.45),
    "Person": Build((1.60, 1.88), 0.067, 0.118, 0.092, 0.35, 0.1),
    "Boy": Build((1.10, 1.40), 0.088, 0.112, 0.090, 0.05, 0.0),
    "Girl": Build((1.05, 1.38), 0.090, 0.104, 0.090, 0.9, 0.6),
}


class Look(NamedTuple):
    """One person's build, colours and pose."""

    build: Build
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    shoe: Colour
    has_long_hair: bool
    has_skirt: bool
    has_coat: bool
    has_short_sleeves: bool
    stride: float  # signed half step, as a share of the height
    swing: float  # how far the hands leave the body
    view: str  # "front", "back" or "side"


def choose_look(rng: np.random.Generator, kind: str) -> Look:
    """Dress and pose a person of a kind in `BUILDS`."""
    build = BUILDS[kind]
    top = TOPS[rng.integers(len(TOPS))]
    shade = float(rng.uniform(0.85, 1.12))
    has_skirt = bool(rng.random() < build.skirt)
    bottoms = TOPS if has_skirt else BOTTOMS
    return Look(
        build=build,
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        top=tint(top, shade),
        bottom=bottoms[rng.integers(len(bottoms))],
        shoe=SHOES[rng.integers(len(SHOES))],
        has_long_hair=bool(rng.random() < build.long_hair),
        has_skirt=has_skirt,
        has_coat=bool(rng.random() < 0.25) and not has_skirt,
        has_short_sleeves=bool(rng.random() < 0.4),
        stride=float(rng.uniform(0.02, 0.11)) * float(rng.choice([-1, 1])),
        swing=float(rng.uniform(0.01, 0.05)),
        view=str(rng.choice(["front", "back", "side"], p=[0.45, 0.15, 0.4])),
    )


def paint_person(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint one person of a kind in `BUILDS` with a pen whose unit is the person's height."""
    look = choose_look(rng, kind)
    if look.has_long_hair and look.view != "back":
        _hair_behind(pen, look)
    _FIGURES[look.view](pen, look)
    _head(pen, look)
    if rng.random() < 0.35:
        _bag(pen, rng, look)


def _leg(pen: Pen, look: Look, hip: Point, knee: Point, foot: Point, shade: float) -> None:
    trousers = tint(look.bottom, shade)
    cloth = tint(look.skin, shade) if look.has_skirt else trousers
    pen.limb([hip, knee, foot], [0.118, 0.096, 0.072], cloth)
    toe = 0.055 if look.view == "side" else 0.015
    sole = [(foot[0] - 0.03, 0.0), (foot[0] + toe + 0.02, 0.0), (foot[0] + toe, foot[1])]
    pen.polygon([*sole, (foot[0] - 0.03, foot[1] + 0.012)], look.shoe)


def _arm(pen: Pen, look: Look, shoulder: Point, elbow: Point, hand: Point, shade: float) -> None:
    sleeve, skin = tint(look.top, shade), tint(look.skin, shade)
    lower = skin if look.has_short_sleeves else sleeve
    pen.limb([elbow, hand], [0.062, 0.05], lower)
    pen.limb([shoulder, elbow], [0.07, 0.062], sleeve)
    pen.disc(*hand, 0.026, skin)


def _facing(pen: Pen, look: Look) -> None:
    hip, shoulder, step = look.build.hips * 0.52, look.build.shoulders, look.stride
    for side, lift in ((-1, max(0.0, step)), (1, max(0.0, -step))):
        foot = (side * (hip + 0.012), 0.025 + lift * 0.45)
        knee = (side * (hip + 0.012), 0.27 + lift * 0.3)
        _leg(pen, look, (side * hip, 0.5), knee, foot, 1.0 - lift)
    for side, back in ((-1, 1), (1, -1)):
        x = side * (shoulder - 0.008)
        out = side * (shoulder + look.swing)
        hand = (out, 0.45 + 0.3 * back * step)
        _arm(pen, look, (x, 0.785), (side * (shoulder + 0.018), 0.62), hand, 0.92)
    _torso(pen, look, shoulder, look.build.hips)
    if look.view == "front":
        _front_of_top(pen, look)


def _profile(pen: Pen, look: Look) -> None:
    step, swing = abs(look.stride), look.swing
    _arm(pen, look, (0.0, 0.79), (0.03 + swing, 0.64), (0.09 + 1.4 * swing, 0.52), 0.7)
    _leg(pen, look, (0.0, 0.5), (-step * 0.3, 0.27), (-step * 1.15, 0.045), 0.78)
    _leg(pen, look, (0.0, 0.5), (step * 0.75, 0.275), (step, 0.025), 1.0)
    _torso(pen, look, look.build.shoulders * 0.62, look.build.hips * 0.82)
    _arm(pen, look, (-0.005, 0.79), (-0.03 - swing, 0.63), (-0.02 - 0.8 * swing, 0.48), 0.88)


_FIGURES: dict[str, Callable[[Pen, Look], None]] = {
    "front": _facing,
    "back": _facing,
    "side": _profile,
}


def _torso(pen: Pen, look: Look, shoulder: float, hip: float) -> None:
    waist = min(shoulder, hip) * 0.9
    if look.has_skirt:
        flare = hip + 0.045
        pen.polygon([(-waist, 0.6), (waist, 0.6), (flare, 0.34), (-flare, 0.34)], look.bottom)
    hem = 0.3 if look.has_coat else 0.485
    wide = hip + (0.03 if look.has_coat else 0.0)
    right: list[Point] = [
        (0.03, 0.858), (shoulder * 0.62, 0.836), (shoulder, 0.795), (shoulder * 0.95, 0.73),
        (waist + 0.005, 0.62), (wide, 0.5), (wide, hem),
    ]  # fmt: skip
    left = [(-x, y) for x, y in reversed(right)]
    pen.polygon([*right, *left], look.top)


def _front_of_top(pen: Pen, look: Look) -> None:
    if look.has_coat:
        shirt = mix(look.top, (245, 245, 240), 0.75)
        pen.polygon([(-0.035, 0.85), (0.035, 0.85), (0.0, 0.68)], shirt)
        pen.box(-0.004, 0.3, 0.004, 0.7, tint(look.top, 0.6))
    elif not look.has_skirt:
        pen.box(-look.build.hips, 0.485, look.build.hips, 0.5, tint(look.bottom, 0.6))
    pen.polygon([(-0.03, 0.858), (0.03, 0.858), (0.0, 0.81)], tint(look.skin, 0.92))


def _hair_behind(pen: Pen, look: Look) -> None:
    size, shift = look.build.head, (-0.02 if look.view == "side" else 0.0)
    top = 1.0 - size
    pen.disc(shift, top, size * 0.98, look.hair, size * 1.08)
    pen.box(shift - size * 0.95, 0.79, shift + size * 0.95, top, look.hair, size * 0.5)


def _head(pen: Pen, look: Look) -> None:
    size = look.build.head
    centre = 1.0 - size
    pen.limb([(0.0, 0.84), (0.0, centre - 0.5 * size)], [0.06, 0.055], tint(look.skin, 0.82))
    if look.view == "back":
        pen.disc(0.0, centre, size * 0.84, look.hair, size)
        if look.has_long_hair:
            pen.box(-size * 0.85, 0.76, size * 0.85, centre, look.hair, size * 0.5)
        return
    pen.disc(0.0, centre - 0.05 * size, size * 0.78, look.skin, size * 0.95)
    turn = np.linspace(-0.12, np.pi + 0.12, 14)
    shift = -0.22 * size if look.view == "side" else 0.0
    crown = np.stack([shift + 0.88 * size * np.cos(turn), centre + size * np.sin(turn)], axis=1)
    fringe = [(shift - 0.5 * size, centre + 0.42 * size), (shift + 0.5 * size, centre + 0.5 * size)]
    pen.polygon(np.concatenate([crown, fringe]), look.hair)
    _FACES[look.view](pen, centre, size, look.skin)


def _front_face(pen: Pen, centre: float, size: float, skin: Colour) -> None:
    for side in (-0.32, 0.32):
        pen.disc(side * size, centre + 0.02 * size, 0.09 * size, (40, 30, 28))
    pen.disc(0.0, centre - 0.22 * size, 0.1 * size, tint(skin, 0.84), 0.16 * size)
    lips = mix(skin, (150, 60, 60), 0.5)
    pen.box(-0.2 * size, centre - 0.55 * size, 0.2 * size, centre - 0.47 * size, lips)


def _side_face(pen: Pen, centre: float, size: float, skin: Colour) -> None:
    nose = [(0.68, 0.1), (0.98, -0.22), (0.66, -0.3)]
    pen.polygon([(x * size, centre + y * size) for x, y in nose], skin)
    pen.disc(0.5 * size, centre + 0.05 * size, 0.1 * size, (40, 30, 28))
    pen.disc(-0.12 * size, centre - 0.08 * size, 0.14 * size, tint(skin, 0.82), 0.2 * size)


_FACES: dict[str, Callable[[Pen, float, float, Colour], None]] = {
    "front": _front_face,
    "side": _side_face,
}


def _bag(pen: Pen, rng: np.random.Generator, look: Look) -> None:
    colour = tint(TOPS[rng.integers(len(TOPS))], 0.8)
    if look.view == "back":
        pen.box(-0.085, 0.56, 0.085, 0.82, colour, 0.04)
        pen.box(-0.06, 0.58, 0.06, 0.67, tint(colour, 0.8), 0.02)
    elif look.view == "side":
        pen.box(-0.17, 0.58, -0.055, 0.81, colour, 0.04)
    else:
        x = look.build.shoulders + look.swing
        pen.limb([(x, 0.45), (x, 0.4)], [0.012, 0.012], tint(colour, 0.6))
        pen.box(x - 0.06, 0.27, x + 0.06, 0.4, colour, 0.015)
