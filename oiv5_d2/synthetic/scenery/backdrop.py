"""The light, the sky and the far skyline; and the trees and lamp posts of a street."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.synthetic.scenery.camera import Camera
from oiv5_d2.synthetic.scenery.canvas import Canvas, Colour, Pen, mix, tint


class Light(NamedTuple):
    """A time of day and its weather."""

    sky_high: Colour
    sky_low: Colour
    gain: Colour  # of the red, green and blue of everything, around 1
    shadow: float  # darkness of shadows, 0-1
    clouds: float  # share of the sky, 0-1
    lit_windows: float  # share, 0-1


LIGHTS: tuple[Light, ...] = (
    Light((62, 122, 208), (186, 214, 238), (1.06, 1.04, 1.0), 0.50, 0.35, 0.0),
    Light((104, 156, 216), (226, 228, 222), (1.05, 1.02, 0.95), 0.42, 0.5, 0.0),
    Light((158, 168, 178), (212, 216, 220), (0.92, 0.94, 0.97), 0.24, 0.9, 0.08),
    Light((84, 92, 150), (250, 176, 116), (1.02, 0.86, 0.74), 0.30, 0.45, 0.35),
    Light((46, 56, 98), (166, 128, 140), (0.74, 0.72, 0.84), 0.22, 0.4, 0.5),
)
LEAVES: tuple[Colour, ...] = ((66, 106, 48), (88, 122, 54), (52, 88, 50), (150, 128, 50))


def mottle(rng: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float32]:
    """Return smooth noise (height, width), about within -1..1, in blots of ``cell`` pixels."""
    coarse = rng.uniform(-1, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height)), np.float32)


def paint_sky(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> None:
    """Paint a graded sky with clouds down to the horizon."""
    # Clouds are soft: a quarter of the size is enough, and sixteen times as fast.
    full = (camera.width, int(camera.horizon) + 2)
    width, rows = full[0] // 4, full[1] // 4
    share = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    sky = np.array(light.sky_high) * (1 - share) + np.array(light.sky_low) * share
    blots = sum(mottle(rng, rows, width, cell) / 2**n for n, cell in enumerate((40, 20, 10, 5)))
    cover = np.clip((blots + 1.6 * light.clouds - 0.7) * 0.9, 0, 0.85)[..., None]
    bright = np.array(mix(light.sky_low, (255, 255, 255), 0.6))
    small = (sky * (1 - cover) + bright * cover).astype(np.uint8)
    canvas.image[: full[1]] = cv2.resize(small, full, interpolation=cv2.INTER_CUBIC)


def paint_skyline(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> None:
    """Paint a hazy row of far houses on the horizon."""
    haze = mix((112, 120, 132), light.sky_low, 0.55)
    x = -10.0
    while x < camera.width:
        wide = camera.height * float(rng.uniform(0.05, 0.14))
        tall = camera.height * float(rng.uniform(0.03, 0.16))
        base = camera.horizon + 4
        quad = [(x, base), (x + wide, base), (x + wide, base - tall), (x, base - tall)]
        canvas.fill(np.array(quad), tint(haze, float(rng.uniform(0.9, 1.08))))
        x += wide * float(rng.uniform(0.7, 1.0))


def paint_tree(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint a tree; the pen's unit is a metre."""
    trunk = (92, 72, 54)
    tall = float(rng.uniform(3.8, 5.5))
    pen.limb([(0.0, 0.0), (0.05, tall * 0.6)], [0.36, 0.2], trunk)
    leaves = LEAVES[rng.integers(len(LEAVES))]
    for layer, shade in enumerate((0.72, 0.9, 1.08, 1.25)):
        for _ in range(9 - layer):
            turn, out = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.1, 1.25 - 0.18 * layer))
            x = out * float(np.cos(turn)) - 0.12 * layer
            y = tall * 0.8 + 0.8 * out * float(np.sin(turn)) + 0.16 * layer
            size = float(rng.uniform(0.35, 0.75)) * (1 - 0.13 * layer)
            pen.disc(x, y, size, tint(leaves, shade * float(rng.uniform(0.92, 1.08))))


def paint_lamp_post(pen: Pen, rng: np.random.Generator, kind: str) -> None:
    """Paint a street lamp of about six metres; the pen's unit is a metre."""
    colour, side = (78, 82, 84), float(rng.choice([-1.0, 1.0]))
    pen.limb([(0.0, 0.0), (0.0, 5.6), (side * 0.9, 6.0)], [0.16, 0.1, 0.07], colour)
    pen.box(side * 0.7, 5.9, side * 1.35, 6.06, tint(colour, 0.8), 0.05)
    pen.box(side * 0.8, 5.86, side * 1.3, 5.92, (252, 240, 200))
