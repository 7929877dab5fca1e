"""Where in a street a thing finds room."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from oiv5_d2.synthetic.scenery.backdrop import Light
from oiv5_d2.synthetic.scenery.camera import Camera
from oiv5_d2.synthetic.scenery.canvas import Canvas
from oiv5_d2.synthetic.scenery.street import Street


class Actor(NamedTuple):
    """A thing that has found its place: how deep in the scene, and how to paint it."""

    label: str  # "" for what is not annotated
    depth: float
    paint: Callable[[Canvas, int, np.random.Generator], None]
    is_group: bool = False
    is_depiction: bool = False


class Rect(NamedTuple):
    """Where on the canvas something will stand, in pixels (xyxy_abs)."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: "Rect") -> float:
        """Return the shared area as a share of the smaller rectangle's."""
        w = min(self.x1, other.x1) - max(self.x0, other.x0)
        h = min(self.y1, other.y1) - max(self.y0, other.y0)
        smaller = min((r.x1 - r.x0) * (r.y1 - r.y0) for r in (self, other))
        return max(0.0, w) * max(0.0, h) / max(smaller, 1e-6)


@dataclass
class Scenery:
    """A scene that is being cast."""

    rng: np.random.Generator
    camera: Camera
    light: Light
    street: Street
    taken: list[Rect] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)

    def between(self, low: float, high: float) -> float:
        """Return a random number."""
        return float(self.rng.uniform(low, high))

    def shows_profile(self, share: float) -> bool:
        """Choose whether a vehicle is seen from its side, as the street has it.

        Args:
            share: how often where nothing in the street speaks for another view.
        """
        if not self.street.has_cross_traffic:
            return False
        return bool(self.rng.random() < (share / 2 if self.street.has_through_traffic else share))

    def on_verge(self) -> tuple[float, float, float]:
        """Return column, row and depth in metres of a place for a tree or a post."""
        depth = self.between(*self.street.verge_z)
        scale = self.camera.scale(depth)
        beside = self.street.verge_x
        if beside is None:
            return self.between(0.0, self.camera.width), self.camera.ground(depth), depth
        x = self.camera.x + scale * beside * float(self.rng.choice([-1.0, 1.0]))
        return x, self.camera.ground(depth), depth

    def find_x(
        self,
        depth: float,
        width: float,
        rows: tuple[float, float],
        room: float = 0.35,
        spill: float = 0.3,
    ) -> float | None:
        """Find a middle column for something, or None where all is taken.

        Args:
            depth: metres to it; there are houses beyond and beside a street.
            width: pixels it needs.
            rows: its upper and its lower row.
            room: the overlap with others that is accepted, as a share.
            spill: the share of its width that may lie beyond the image's edge.
        """
        low, high = width * (0.5 - spill), self.camera.width - width * (0.5 - spill)
        if self.street.half_width is not None:
            reach = self.street.half_width * self.camera.scale(depth) - width / 2
            low, high = max(low, self.camera.x - reach), min(high, self.camera.x + reach)
        if depth > self.street.end - 0.5 or low >= high:
            return None
        y0, y1 = rows
        best, best_x = room, None
        for _ in range(14):
            x = self.between(low, high)
            rect = Rect(x - width / 2, y0, x + width / 2, y1)
            worst = max((rect.overlap(other) for other in self.taken), default=0.0)
            if worst < best:
                best, best_x = worst, x
            if worst < 0.05:
                break
        if best_x is not None:
            self.taken.append(Rect(best_x - width / 2, y0, best_x + width / 2, y1))
        return best_x
