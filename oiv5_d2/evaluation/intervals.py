"""How far a number may be off by chance: the bootstrap over images (Efron, 1979).

Images are drawn again, with replacement, as many as there are, and every number is computed on the
images drawn: 1,000 times. What is matched with what does not change by that, so an image only
counts as often as it was drawn. The interval holds the middle 95 % of the values.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation import matching, open_images
from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.hierarchy import Above
from oiv5_d2.evaluation.matching import View
from oiv5_d2.evaluation.rankings import RECALLS, Ranking, Weights, average_precision
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.results import COCO, METRICS, OPEN_IMAGES, Interval, task_key

RESAMPLES, SEED = 1000, 0
LEVELS = (2.5, 97.5)  # percentiles
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # COCO's four

Values = dict[str, NDArray[np.float64]]  # by metric, (B,) 0 to 100
Rankings = list[list[Ranking]]  # of each view, of each class


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


def coco_rankings(truth: Truth, detections: Detections, task: str) -> Rankings:
    """Return the rankings of all objects, and of small, medium and large ones."""
    candidates = matching.find_candidates(truth, detections, task)
    inside = ((truth.areas >= low) & (truth.areas <= high) for low, high in AREAS)
    views = (View(objects, areas) for objects, areas in zip(inside, AREAS, strict=True))
    return [matching.rank(candidates, view) for view in views]


def coco_values(rankings: Rankings, weights: Weights, classes: Sequence[str]) -> Values:
    """Return COCO's metrics, as `coco.evaluate` names them, on each resample."""
    every, *sizes = (_precisions(view, weights, RECALLS) for view in rankings)
    per_class = every.mean(axis=1)
    values = [_mean(per_class), _mean(every[:, 0]), _mean(every[:, 5])]
    values += [_mean(one.mean(axis=1)) for one in sizes]
    return {
        **dict(zip(METRICS, values, strict=True)),
        **{f"AP-{name}": 100 * per_class[i] for i, name in enumerate(classes)},
        **{f"AP50-{name}": 100 * every[i, 0] for i, name in enumerate(classes)},
    }


def open_images_values(
    rankings: Sequence[Ranking], weights: Weights, classes: Sequence[str]
) -> Values:
    """Return the Open Images metric, as `open_images.evaluate` names it, on each resample."""
    found = _precisions(rankings, weights, None)[:, 0]
    per_class = {f"{open_images.NAME}-{name}": 100 * found[i] for i, name in enumerate(classes)}
    return {open_images.NAME: _mean(found), **per_class}


def resampled(
    truth: Truth, detections: Detections, above: Above, tasks: Sequence[str], weights: Weights
) -> dict[str, Values]:
    """Return all metrics by task, named as in `Results.tasks`, on each resample."""
    values: dict[str, Values] = {}
    for task in tasks:
        ranked = coco_rankings(truth, detections, task)
        official = open_images.rank(truth, detections, task, above)
        values[task_key(COCO, task)] = coco_values(ranked, weights, truth.classes)
        values[task_key(OPEN_IMAGES, task)] = open_images_values(official, weights, truth.classes)
    return values


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


def _precisions(
    rankings: Sequence[Ranking], weights: Weights, recalls: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the average precision of each class, (C, T, B), computed on all cores."""
    blocks = np.array_split(weights, min(len(weights), len(os.sched_getaffinity(0))))
    with ThreadPoolExecutor(len(blocks)) as pool:
        jobs = [
            [pool.submit(average_precision, one, block, recalls) for block in blocks]
            for one in rankings
        ]
        return np.stack([np.concatenate([job.result() for job in row], axis=1) for row in jobs])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over classes that were measured, (B,), in percent."""
    is_measured = ~np.isnan(values)
    number = is_measured.sum(axis=0)
    total = np.where(is_measured, values, 0.0).sum(axis=0)
    means: NDArray[np.float64] = np.full(len(number), np.nan)
    np.divide(100 * total, number, out=means, where=number > 0)
    return means
