"""What stands behind and under the things: sky, skyline, facades, trees, road and pavement."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.dataset.scenery.camera import Camera
from oiv5_d2.dataset.scenery.canvas import Canvas, Colour, Pen, mix, tint

_Quad: TypeAlias = Callable[[float, float, float, float], NDArray[np.float64]]

FAR = 120.0  # metres: where the street ends


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
WALLS: tuple[Colour, ...] = (
    (176, 92, 70), (202, 184, 152), (146, 142, 138), (190, 150, 116), (128, 74, 60),
    (214, 206, 190), (108, 116, 128), (166, 160, 128), (196, 168, 160), (140, 150, 144),
)  # fmt: skip
AWNINGS: tuple[Colour, ...] = (
    (150, 36, 40), (34, 84, 70), (38, 58, 110), (190, 140, 50), (90, 50, 86),
)  # fmt: skip
ASPHALT: Colour = (98, 98, 102)
PAVEMENT: Colour = (172, 166, 158)
LEAVES: tuple[Colour, ...] = ((66, 106, 48), (88, 122, 54), (52, 88, 50), (150, 128, 50))


def mottle(rng: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float32]:
    """Return smooth noise (height, width), about within -1..1, in blots of ``cell`` pixels."""
    coarse = rng.uniform(-1, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height)), np.float32)


def paint_sky(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> None:
    """Paint a graded sky with clouds down to the horizon."""
    rows, width = int(camera.horizon) + 2, camera.width
    share = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    sky = np.array(light.sky_high) * (1 - share) + np.array(light.sky_low) * share
    blots = sum(mottle(rng, rows, width, cell) / 2**n for n, cell in enumerate((160, 80, 40, 20)))
    cover = np.clip((blots + 1.6 * light.clouds - 0.7) * 0.9, 0, 0.85)[..., None]
    bright = mix(light.sky_low, (255, 255, 255), 0.6)
    canvas.picture[:rows] = (sky * (1 - cover) + np.array(bright) * cover).astype(np.uint8)


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


def paint_backdrop(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> str:
    """Paint all that stands behind the things and return the name of the street's layout."""
    paint_sky(canvas, rng, light, camera)
    paint_skyline(canvas, rng, light, camera)
    layout = str(rng.choice(list(LAYOUTS), p=[0.55, 0.45]))
    LAYOUTS[layout](canvas, rng, light, camera)
    return layout


def _ground(canvas: Canvas, camera: Camera, x0: float, x1: float, z0: float, z1: float,
            colour: Colour) -> None:  # fmt: skip
    corners = [(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)]
    canvas.fill(camera.project(corners), colour)


def _grain_ground(canvas: Canvas, rng: np.random.Generator, camera: Camera) -> None:
    top = int(camera.horizon) + 1
    rows, width = camera.height - top, camera.width
    rough = 0.05 * mottle(rng, rows, width, 30) + 0.05 * mottle(rng, rows, width, 3)
    patch = canvas.picture[top:]
    patch[:] = np.clip(patch * (1.0 + rough[..., None]), 0, 255).astype(np.uint8)


def paint_avenue(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> None:
    """Paint a street that runs into the picture, houses along both sides."""
    road, walk = float(rng.uniform(3.6, 5.5)), float(rng.uniform(2.5, 4.0))
    near = camera.nearest * 0.8
    edge = road + walk
    _ground(canvas, camera, -90, 90, near, FAR, tint(PAVEMENT, float(rng.uniform(0.85, 1.05))))
    for number in range(1, 30):
        z = near + 0.9 * number
        _ground(canvas, camera, -edge, edge, z, z + 0.03, tint(PAVEMENT, 0.8))
    _ground(canvas, camera, -road, road, near, FAR, tint(ASPHALT, float(rng.uniform(0.8, 1.1))))
    for side in (-1, 1):
        _ground(canvas, camera, side * road, side * (road + 0.22), near, FAR, (196, 194, 188))
        _ground(canvas, camera, side * (road - 0.06), side * road, near, FAR, (60, 60, 62))
        _ground(canvas, camera, side * (road - 0.5), side * (road - 0.4), near, FAR,
                (206, 202, 190))  # fmt: skip
    start = float(rng.uniform(0, 2))
    for number in range(14):
        z = near + start + 4.5 * number
        _ground(canvas, camera, -0.08, 0.08, z, z + 2.2, (222, 220, 210))
    if rng.random() < 0.6:
        _zebra(canvas, camera, -road + 0.6, road - 0.6, near * float(rng.uniform(1.3, 2.4)))
    _grain_ground(canvas, rng, camera)
    for side in (-1, 1):
        _terrace(canvas, rng, light, camera, side * edge)


def _zebra(canvas: Canvas, camera: Camera, x0: float, x1: float, z: float) -> None:
    for x in np.arange(x0, x1, 1.0):
        _ground(canvas, camera, float(x), float(x) + 0.5, z, z + 2.6, (226, 224, 216))


def _terrace(
    canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera, x: float
) -> None:
    """Houses along one side; painted from the far end so that near ones cover far ones."""
    ends = [float(rng.uniform(2.0, 4.5))]
    while ends[-1] < 70:
        ends.append(ends[-1] + float(rng.uniform(6, 13)))
    lit_side = 1.0 if x < 0 else 0.78
    for z0, z1 in reversed(list(pairwise(ends))):
        if rng.random() < 0.12:
            continue
        wall = tint(WALLS[rng.integers(len(WALLS))], lit_side * float(rng.uniform(0.85, 1.1)))
        wall = mix(wall, light.sky_low, min(0.6, z0 / 110))
        _house(canvas, rng, light, camera, (x, z0), (x, z1), wall)


def paint_across(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> None:
    """Paint a street seen from its near pavement: the road crosses, a row of houses behind."""
    near = camera.nearest * 0.8
    kerb, far_kerb, front = 3.4, float(rng.uniform(13.0, 16.0)), float(rng.uniform(18.0, 21.0))
    _ground(
        canvas, camera, -60, 60, near, front + 1, tint(PAVEMENT, float(rng.uniform(0.85, 1.05)))
    )
    for x in np.arange(-30, 30, 0.9):
        _ground(canvas, camera, float(x), float(x) + 0.03, near, front, tint(PAVEMENT, 0.8))
    _ground(canvas, camera, -60, 60, kerb, far_kerb, tint(ASPHALT, float(rng.uniform(0.8, 1.1))))
    for z in (kerb - 0.2, far_kerb):
        _ground(canvas, camera, -60, 60, z, z + 0.2, (196, 194, 188))
    for x in np.arange(-30 + float(rng.uniform(0, 4)), 30, 4.5):
        middle = (kerb + far_kerb) / 2
        _ground(canvas, camera, float(x), float(x) + 2.2, middle, middle + 0.18, (222, 220, 210))
    _grain_ground(canvas, rng, camera)
    x, reach = -front * 1.1, front * 1.1
    while x < reach:
        wide = float(rng.uniform(6, 12))
        wall = tint(WALLS[rng.integers(len(WALLS))], float(rng.uniform(0.85, 1.1)))
        if rng.random() < 0.88:
            _house(canvas, rng, light, camera, (x, front), (x + wide, front), wall)
        x += wide


def _house(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera,
           start: tuple[float, float], end: tuple[float, float], wall: Colour) -> None:  # fmt: skip
    """One facade over the ground line from ``start`` to ``end``, both (X, Z)."""
    storeys = int(rng.integers(2, 6))
    storey = float(rng.uniform(2.9, 3.5))
    height = 3.8 + storeys * storey
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))

    def quad(u0: float, u1: float, y0: float, y1: float) -> NDArray[np.float64]:
        (xa, za), (xb, zb) = (
            (
                start[0] + (end[0] - start[0]) * u / length,
                start[1] + (end[1] - start[1]) * u / length,
            )
            for u in (u0, u1)
        )
        return camera.project([(xa, y0, za), (xb, y0, zb), (xb, y1, zb), (xa, y1, za)])

    canvas.fill(quad(0, length, 0, height), wall)
    canvas.fill(quad(0, length, height - 0.35, height + 0.15), tint(wall, 0.72))
    canvas.fill(quad(0, length, 3.45, 3.7), tint(wall, 1.18))
    columns = max(1, int(length / float(rng.uniform(1.8, 2.6))))
    pitch = length / columns
    frames: list[NDArray[np.float64]] = []
    dark: list[NDArray[np.float64]] = []
    lit: list[NDArray[np.float64]] = []
    for floor in range(storeys):
        y = 4.5 + floor * storey
        for column in range(columns):
            u = pitch * (column + 0.5)
            frames.append(quad(u - 0.62, u + 0.62, y - 0.12, y + 1.72))
            pane = quad(u - 0.5, u + 0.5, y, y + 1.6)
            (lit if rng.random() < light.lit_windows else dark).append(pane)
    canvas.fill_all(frames, tint(wall, 1.25))
    canvas.fill_all(dark, mix((48, 58, 70), light.sky_high, float(rng.uniform(0.1, 0.4))))
    canvas.fill_all(lit, (250, 214, 140))
    _shop(canvas, rng, quad, length, light)


def _shop(
    canvas: Canvas, rng: np.random.Generator, quad: _Quad, length: float, light: Light
) -> None:
    colour = AWNINGS[rng.integers(len(AWNINGS))]
    inside = (250, 224, 170) if rng.random() < light.lit_windows + 0.1 else (60, 68, 76)
    canvas.fill(quad(0.3, length - 0.3, 0.0, 3.2), tint(colour, 0.55))
    door = float(rng.uniform(0.8, max(0.9, length - 2.0)))
    canvas.fill(quad(0.55, length - 0.55, 0.6, 2.5), inside)
    canvas.fill(quad(door, door + 1.0, 0.0, 2.4), tint(colour, 0.85))
    canvas.fill(quad(door + 0.15, door + 0.85, 0.9, 2.2), tint(inside, 1.1))
    canvas.fill(quad(0.2, length - 0.2, 2.6, 3.25), colour)
    letters = np.arange(0.3 * length, 0.7 * length, 0.34)
    canvas.fill_all([quad(u, u + 0.2, 2.78, 3.08) for u in letters.tolist()], tint(colour, 2.2))


_LayoutPainter: TypeAlias = Callable[[Canvas, np.random.Generator, Light, Camera], None]
LAYOUTS: dict[str, _LayoutPainter] = {"avenue": paint_avenue, "across": paint_across}


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
