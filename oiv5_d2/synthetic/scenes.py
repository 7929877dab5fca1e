"""Street scenes: who stands where, painted from the far end to the near one.

A scene is drawn several times larger than wanted and then averaged down, so that edges are smooth;
the map of owners stays large, and masks of any size can be cut from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from oiv5_d2.synthetic.scenery.backdrop import LIGHTS, Light, mottle
from oiv5_d2.synthetic.scenery.camera import Camera
from oiv5_d2.synthetic.scenery.canvas import Canvas, Pixels
from oiv5_d2.synthetic.scenery.cast import cast_actors
from oiv5_d2.synthetic.scenery.stage import Actor
from oiv5_d2.synthetic.scenery.street import paint_street

SMALLEST = (32, 32)  # height, width: below it nothing can be made out
HIDDEN = 0.10  # a thing of which less is visible is not annotated
MASKABLE = 0.35  # a thing of which less is visible gets a box only


@dataclass(frozen=True)
class Thing:
    """One annotated object of a scene.

    Attributes:
        label: display name of the class, the most specific one.
        owner: its number in the scene's map of owners.
        box: x0, y0, x1, y1 of its visible part as fractions of width and height (xyxy_rel).
        visible: share of its pixels within the image that nothing covers.
        is_truncated: it goes on beyond an edge of the image.
        is_group: several objects under one box.
        is_depiction: an image of an object, such as on a billboard.
    """

    label: str
    owner: int
    box: tuple[float, float, float, float]
    visible: float
    is_truncated: bool
    is_group: bool
    is_depiction: bool


@dataclass(frozen=True)
class Scene:
    """A finished image and what is in it.

    Attributes:
        image: (H, W, 3) RGB.
        owners: (kH, kW) number of the thing seen at each point, finer than the image.
        things: the annotated objects, far ones first.
        hidden: labels of things so well hidden that they are not annotated.
    """

    image: Pixels
    owners: Pixels
    things: tuple[Thing, ...]
    hidden: frozenset[str]

    def mask(self, thing: Thing, height: int, width: int) -> NDArray[np.bool_]:
        """Return the visible part of a thing, (height, width) bool, at any size."""
        mine = (self.owners == thing.owner).astype(np.uint8)
        resized = cv2.resize(mine, (width, height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(resized, bool)


def draw_scene(
    rng: np.random.Generator, height: int, width: int, wanted: Sequence[str] = ()
) -> Scene:
    """Draw a street scene by chance.

    Args:
        rng: makes every choice; the same state gives the same scene.
        height: pixels of the image.
        width: pixels of the image.
        wanted: names from `scenery.cast.PLACERS` that must be in it if they find room.

    Raises:
        ValueError: the image is smaller than `SMALLEST`.
    """
    if height < SMALLEST[0] or width < SMALLEST[1]:
        raise ValueError(
            f"an image of {height}x{width} (height x width) is too small for a street scene: "
            f"ask for {SMALLEST[0]}x{SMALLEST[1]} or more"
        )
    finer = 2 if height >= 200 else 3
    canvas = Canvas.blank(height * finer, width * finer)
    light = LIGHTS[rng.choice(len(LIGHTS), p=[0.3, 0.25, 0.2, 0.15, 0.1])]
    camera = choose_camera(rng, height * finer, width * finer)
    street = paint_street(canvas, rng, light, camera)
    actors = cast_actors(rng, camera, light, street, wanted)
    things = _paint_actors(canvas, rng, light, actors)
    image = _develop(canvas.image, rng, light, height, width)
    hidden = {actor.label for actor in actors} - {thing.label for thing in things}
    return Scene(image, canvas.owners, tuple(things), frozenset(hidden))


def choose_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    """Place a camera at about a person's eyes, looking along the street."""
    return Camera(
        focal=height * float(rng.uniform(1.0, 1.2)),
        x=width * float(rng.uniform(0.3, 0.7)),
        horizon=height * float(rng.uniform(0.42, 0.52)),
        eye=float(rng.uniform(1.4, 1.8)),
        width=width,
        height=height,
    )


def _paint_actors(
    canvas: Canvas, rng: np.random.Generator, light: Light, actors: Sequence[Actor]
) -> list[Thing]:
    height, width = canvas.owners.shape
    grain = 0.03 * mottle(rng, height, width, 3) + 0.05 * mottle(rng, height, width, 24)
    sun = 0.3 * light.shadow * float(rng.choice([-1.0, 1.0]))
    painted = []
    for owner, actor in enumerate(actors, start=1):
        actor.paint(canvas, owner, rng)
        canvas.model(owner, sun, 0.14, grain)
        rows, columns = canvas.window(*canvas.extents.get(owner, (0.0, 0.0, 0.0, 0.0)))
        painted.append(int(np.count_nonzero(canvas.owners[rows, columns] == owner)))
    things = (
        _look_at(canvas, actor, owner, num_pixels)
        for owner, (actor, num_pixels) in enumerate(zip(actors, painted, strict=True), start=1)
    )
    return [thing for thing in things if thing is not None]


def _look_at(canvas: Canvas, actor: Actor, owner: int, num_pixels: int) -> Thing | None:
    if not actor.label or num_pixels == 0:
        return None
    height, width = canvas.owners.shape
    x0, y0, x1, y1 = canvas.extents[owner]
    rows, columns = canvas.window(x0, y0, x1, y1)
    ys, xs = np.nonzero(canvas.owners[rows, columns] == owner)
    visible = len(xs) / num_pixels
    if visible < HIDDEN:
        return None
    return Thing(
        label=actor.label,
        owner=owner,
        box=(
            (columns.start + int(xs.min())) / width,
            (rows.start + int(ys.min())) / height,
            (columns.start + int(xs.max()) + 1) / width,
            (rows.start + int(ys.max()) + 1) / height,
        ),
        visible=visible,
        is_truncated=x0 < -1 or y0 < -1 or x1 > width + 1 or y1 > height + 1,
        is_group=actor.is_group,
        is_depiction=actor.is_depiction,
    )


def _develop(
    large: Pixels, rng: np.random.Generator, light: Light, height: int, width: int
) -> Pixels:
    """Average the canvas down and pass it through a small camera: light, lens, sensor."""
    small = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    blur = float(rng.uniform(0.0, 0.8))
    if blur > 0.35 and height >= 128:
        small = cv2.GaussianBlur(small, (0, 0), blur)
    dy = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    dx = np.linspace(-1, 1, width, dtype=np.float32)[None]
    vignette = 1.0 - np.float32(rng.uniform(0.04, 0.2)) * (dx * dx + dy * dy) / 2
    gain = np.array(light.gain, np.float32) * np.float32(rng.uniform(0.88, 1.1))
    # The sum of two evenly spread bytes is near enough to a bell, and far cheaper.
    dust = rng.integers(0, 256, (2, height, width, 1), np.uint8).astype(np.float32)
    noise = (dust[0] + dust[1] - 255) * np.float32(rng.uniform(1.5, 6.0) / 104)
    contrast = np.float32(rng.uniform(0.88, 1.1))
    lit = (small * (gain * vignette[..., None]) - 118) * contrast + 118 + noise
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
