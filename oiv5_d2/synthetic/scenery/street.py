"""Two kinds of street: an avenue that runs into the image, and a road that runs across it."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.synthetic.scenery.backdrop import Light, mottle, paint_sky, paint_skyline
from oiv5_d2.synthetic.scenery.camera import Camera
from oiv5_d2.synthetic.scenery.canvas import Canvas, Colour, tint
from oiv5_d2.synthetic.scenery.houses import Wall, choose_wall, paint_house

FAR = 150.0  # metres: where the street ends
ASPHALT: Colour = (98, 98, 102)
PAVEMENT: Colour = (172, 166, 158)
KERB: Colour = (196, 194, 188)
MARKING: Colour = (222, 220, 210)


class Street(NamedTuple):
    """What those who stand in a street must know of it.

    Attributes:
        has_cross_traffic: vehicles are seen from their side.
        has_through_traffic: vehicles are seen from the front and from behind.
        verge_x: metres beside the middle where trees stand, on both sides; None for everywhere.
        verge_z: from - to, the depths in metres where trees stand.
        half_width: metres from the middle to the houses on both sides; None for no houses there.
        end: the depth in metres where houses close the view.
    """

    has_cross_traffic: bool
    has_through_traffic: bool
    verge_x: float | None
    verge_z: tuple[float, float]
    half_width: float | None
    end: float


def paint_street(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> Street:
    """Paint all that stands behind and under the things of a scene."""
    paint_sky(canvas, rng, light, camera)
    paint_skyline(canvas, rng, light, camera)
    return _LAYOUTS[rng.choice(len(_LAYOUTS), p=[0.55, 0.45])](canvas, rng, light, camera)


def _avenue(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> Street:
    road, walk = float(rng.uniform(3.6, 5.5)), float(rng.uniform(2.5, 4.0))
    junction = float(rng.uniform(5.5, 7.5)) if rng.random() < 0.55 else None
    ground = _Ground(canvas, camera)
    edge = road + walk
    ground.pave(rng, -edge, edge)
    ground.asphalt(rng, -road, road, ground.near, FAR)
    for side in (-1.0, 1.0):
        ground.fill(side * road, side * (road + 0.22), ground.near, FAR, KERB)
        ground.fill(side * (road - 0.06), side * road, ground.near, FAR, tint(ASPHALT, 0.6))
        ground.fill(side * (road - 0.5), side * (road - 0.4), ground.near, FAR, MARKING)
    dashes = ground.near + float(rng.uniform(0, 2)) + 4.5 * np.arange(14.0)
    beside = np.full(14, 0.08)
    ground.fill_all(np.column_stack([-beside, beside, dashes, dashes + 2.2]), MARKING)
    if junction is not None:
        ground.cross_road(rng, junction, junction + 6.5, 0.0)
    if rng.random() < 0.6:
        depth = ground.near * float(rng.uniform(1.1, 1.6))
        ground.zebra(-road + 0.6, road - 0.6, min(depth, (junction or 9.0) - 2.9))
    ground.roughen(rng)
    for side in (-1.0, 1.0):
        _terrace(canvas, rng, light, camera, side * edge, junction)
    near_verge = 5.0 if junction is None else junction + 8.0
    return Street(junction is not None, True, road + 0.7, (near_verge, 30.0), edge, FAR)


def _terrace(
    canvas: Canvas,
    rng: np.random.Generator,
    light: Light,
    camera: Camera,
    x: float,
    junction: float | None,
) -> None:
    """Houses along one side, from the far end, so that near ones cover far ones."""
    starts = [junction + 8.0 if junction else float(rng.uniform(2.0, 4.5))]
    while starts[-1] < 60:
        starts.append(starts[-1] + float(rng.uniform(6, 13)))
    is_gap = (rng.random(len(starts)) < 0.12) & (np.arange(len(starts)) > 0)
    shade, outward = (1.0, -1.0) if x < 0 else (0.78, 1.0)
    for number in reversed(range(len(starts) - 1)):
        if is_gap[number]:
            continue
        z0, z1 = starts[number : number + 2]
        colour = choose_wall(rng, light, z0)
        if (number == 0 and junction) or is_gap[number - 1]:
            corner = Wall(camera, (x, z0), (x + 14.0 * outward, z0))
            paint_house(canvas, rng, light, corner, tint(colour, 0.9))
        paint_house(canvas, rng, light, Wall(camera, (x, z0), (x, z1)), tint(colour, shade))
    if junction:
        nearest = Wall(camera, (x, 1.5), (x, junction - 1.5))
        paint_house(canvas, rng, light, nearest, tint(choose_wall(rng, light, 0.0), shade))


def _across(canvas: Canvas, rng: np.random.Generator, light: Light, camera: Camera) -> Street:
    kerb, far_kerb = 3.4, float(rng.uniform(13.0, 16.0))
    front = far_kerb + float(rng.uniform(3.5, 6.0))
    ground = _Ground(canvas, camera)
    ground.pave(rng, -40.0, 40.0)
    ground.cross_road(rng, kerb, far_kerb, float(rng.uniform(0.5, 4.5)))
    ground.roughen(rng)
    x = -front * 1.1
    while x < front * 1.1:
        wide = float(rng.uniform(6, 12))
        if rng.random() < 0.88:
            wall = Wall(camera, (x, front), (x + wide, front))
            paint_house(canvas, rng, light, wall, choose_wall(rng, light, 0.0))
        x += wide
    return Street(True, False, None, (far_kerb + 0.6, far_kerb + 1.2), None, front)


_LAYOUTS: tuple[Callable[[Canvas, np.random.Generator, Light, Camera], Street], ...] = (
    _avenue,
    _across,
)


class _Ground:
    """Draws on the plane under everything, in metres."""

    def __init__(self, canvas: Canvas, camera: Camera) -> None:
        self.canvas, self.camera = canvas, camera
        self.near = 0.8 * camera.nearest  # a little in front of the image's lower edge

    def fill(self, x0: float, x1: float, z0: float, z1: float, colour: Colour) -> None:
        corners = [(x0, 0.0, z0), (x1, 0.0, z0), (x1, 0.0, z1), (x0, 0.0, z1)]
        self.canvas.fill(self.camera.project(corners), colour)

    def fill_all(self, rects: NDArray[np.float64], colour: Colour) -> None:
        """Fill rectangles (N, 4): x0, x1, z0, z1 in metres, which do not overlap."""
        x, z = rects[:, [0, 1, 1, 0]].ravel(), rects[:, [2, 2, 3, 3]].ravel()
        points = np.column_stack([x, np.zeros_like(x), z])
        self.canvas.fill_all(self.camera.project(points).reshape(-1, 4, 2), colour)

    def pave(self, rng: np.random.Generator, x0: float, x1: float) -> None:
        colour = tint(PAVEMENT, float(rng.uniform(0.85, 1.05)))
        self.fill(-250, 250, self.near, FAR, colour)
        across = (self.near + 0.9 * np.arange(25.0))[:, None] * (0.0, 0.0, 1.0, 1.0)
        across += (x0, x1, 0.0, 0.03)
        along = np.arange(x0, x1, 0.9)[:, None] * (1.0, 1.0, 0.0, 0.0)
        along += (0.0, 0.025, self.near, 22.0)
        self.fill_all(across, tint(colour, 0.86))
        self.fill_all(along, tint(colour, 0.86))

    def asphalt(self, rng: np.random.Generator, x0: float, x1: float, z0: float, z1: float) -> None:
        self.fill(x0, x1, z0, z1, tint(ASPHALT, float(rng.uniform(0.8, 1.1))))

    def cross_road(self, rng: np.random.Generator, z0: float, z1: float, start: float) -> None:
        self.asphalt(rng, -90, 90, z0, z1)
        for z in (z0 - 0.2, z1):
            self.fill(-90, 90, z, z + 0.2, KERB)
        middle = (z0 + z1) / 2
        dashes = np.arange(start - 30, 30, 4.5)[:, None] * (1.0, 1.0, 0.0, 0.0)
        dashes += (0.0, 2.2, middle, middle + 0.15)
        self.fill_all(dashes, MARKING)

    def zebra(self, x0: float, x1: float, z: float) -> None:
        bars = np.arange(x0, x1, 1.0)[:, None] * (1.0, 1.0, 0.0, 0.0)
        bars += (0.0, 0.5, z, z + 2.6)
        self.fill_all(bars, tint(MARKING, 1.03))

    def roughen(self, rng: np.random.Generator) -> None:
        top = int(self.camera.horizon) + 1
        rows, width = self.camera.height - top, self.camera.width
        rough = 0.05 * mottle(rng, rows, width, 30) + 0.05 * mottle(rng, rows, width, 3)
        factor = np.clip(128.5 + 128 * rough, 0, 255).astype(np.uint8)
        patch = self.canvas.image[top:]
        cv2.multiply(patch, cv2.merge([factor] * 3), patch, scale=1 / 128)
