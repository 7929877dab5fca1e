"""A level pinhole camera over a flat street. Metres: X right, Y up, Z into the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """Where the street is seen from.

    Attributes:
        focal: pixels that a metre at one metre's distance covers.
        x: column of the vanishing point.
        horizon: row of the vanishing point.
        eye: metres above the ground.
        width: canvas columns.
        height: canvas rows.
    """

    focal: float
    x: float
    horizon: float
    eye: float
    width: int
    height: int

    def project(
        self, points: Sequence[Sequence[float]] | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return pixels (N, 2) of points (N, 3) in front of the camera."""
        x, y, z = np.asarray(points, dtype=np.float64).T
        z = np.maximum(z, 0.05)
        pixels = np.empty((len(z), 2))
        pixels[:, 0] = self.x + self.focal * x / z
        pixels[:, 1] = self.horizon - self.focal * (y - self.eye) / z
        return pixels

    def scale(self, depth: float) -> float:
        """Return the pixels of a metre at a depth."""
        return self.focal / depth

    def ground(self, depth: float) -> float:
        """Return the row of the ground at a depth."""
        return self.horizon + self.eye * self.focal / depth

    @property
    def nearest(self) -> float:
        """The depth of the ground at the image's lower edge."""
        return self.eye * self.focal / (self.height - self.horizon)
