"""How far a number may be off by chance: the bootstrap over images (Efron, 1979).

Images are drawn again, with replacement, as many as there are, and every number is computed on the
images drawn: 1,000 times. What is matched with what does not change by that, so an image only
counts as often as it was drawn. The interval holds the middle 95 % of the values.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.rankings import Values, Weights
from oiv5_d2.runs.results import Interval

RESAMPLES, SEED = 1000, 0
LEVELS = (2.5, 97.5)  # percentiles


def draw(num_images: int, times: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Return how often each image is in each resample, (B, I) uint8."""
    rng = np.random.default_rng(seed)
    weights = np.empty((times, num_images), dtype=np.uint8)
    for row in weights:
        row[:] = np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
    return weights


def everything(num_images: int) -> Weights:
    """Return the weights of the images as they are, (1, I) float64."""
    return np.ones((1, num_images))


def interval(values: NDArray[np.float64]) -> Interval:
    """Return the interval of the values of a number; NaN if it could never be measured."""
    measured = values[~np.isnan(values)]
    if not len(measured):
        return float("nan"), float("nan")
    low, high = np.percentile(measured, LEVELS)
    return float(low), float(high)


def to_intervals(values: Mapping[str, Values]) -> dict[str, dict[str, Interval]]:
    """Return the interval of every number."""
    return {task: {n: interval(found) for n, found in of.items()} for task, of in values.items()}
