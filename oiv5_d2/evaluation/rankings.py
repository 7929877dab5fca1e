"""Average precision of ranked detections, with every image weighted as often as it was drawn.

One `Ranking` gives the average precision of a class on all images (weights of one) and on any
number of resamples of them at once. Detections that overlap nothing are false at every threshold
and most of all: they are only summed up between the few that matter.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[Any]  # (B, I): how often each image is in each of B resamples
Floats = NDArray[np.float64]
Values = dict[str, Floats]  # by name of a number: (B,) 0 to 100, NaN if not measured

TRUE, FALSE, IGNORED = 1, 0, -1
RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO reads the precision
BLOCK = 64  # resamples that are computed together
CELLS = 1 << 23  # detections times resamples that are in memory at once


@dataclass(frozen=True)
class Ranking:
    """The detections of one class, best score first.

    Attributes:
        scores: (N,) descending.
        image: (N,) int32, index of the image.
        special: (S,) int64, ascending: which of the N may be true or ignored.
        status: (S, T) int8: TRUE, FALSE or IGNORED at each of T overlaps.
        positives: (I,) int64, objects to find on each image.
    """

    scores: Floats
    image: NDArray[np.int32]
    special: NDArray[np.int64]
    status: NDArray[np.int8]
    positives: NDArray[np.int64]

    @property
    def num_positives(self) -> int:
        """How many objects there are to find."""
        return int(self.positives.sum())


def average_precision(ranking: Ranking, weights: Weights, recalls: Floats | None) -> Floats:
    """Return the average precision, (T, B), 0 to 1; NaN where there is nothing to find.

    Args:
        ranking: of one class.
        weights: of the images; sums of float64 are as precise, those of integers as float32.
        recalls: read the precision there, as COCO does; None for the whole area under the curve,
            as PASCAL VOC 2010 and Open Images do.
    """
    found = np.full((ranking.status.shape[1], len(weights)), np.nan)
    if not ranking.num_positives:
        return found
    size = min(BLOCK, CELLS // max(1, len(ranking.image)) + 1)
    for start in range(0, len(weights), size):
        block = weights[start : start + size]
        block = block.astype(np.result_type(block, np.float32), copy=False)
        positives = block @ ranking.positives.astype(block.dtype)
        special = block.take(ranking.image[ranking.special], axis=1)
        before = _false_before(ranking, block)
        for t, status in enumerate(ranking.status.T):
            curve = _curve(status, special, before)
            found[t, start : start + size] = _area(*curve, positives, recalls)
    return found


def average_precisions(
    rankings: Sequence[Ranking], weights: Weights, recalls: Floats | None
) -> Floats:
    """Return the average precision of each class, (C, T, B), computed on all cores."""
    blocks = np.array_split(weights, min(len(weights), len(os.sched_getaffinity(0))))
    with ThreadPoolExecutor(len(blocks)) as pool:
        jobs = [
            [pool.submit(average_precision, one, block, recalls) for block in blocks]
            for one in rankings
        ]
        return np.stack([np.concatenate([job.result() for job in row], axis=1) for row in jobs])


def mean_of_classes(values: Floats) -> Floats:
    """Return the mean over the classes that were measured, from (C, B) to (B,), in percent."""
    is_measured = ~np.isnan(values)
    number = is_measured.sum(axis=0)
    total = np.where(is_measured, values, 0.0).sum(axis=0)
    means: Floats = np.full(len(number), np.nan)
    np.divide(100 * total, number, out=means, where=number > 0)
    return means


def precision_recall(ranking: Ranking, overlap: int) -> tuple[Floats, Floats, Floats]:
    """Return scores, precision and recall at every counted detection, best score first."""
    status = np.full(len(ranking.scores), FALSE, dtype=np.int8)
    status[ranking.special] = ranking.status[:, overlap]
    counted = status != IGNORED
    true = np.cumsum(status[counted] == TRUE)
    precision = true / np.arange(1, len(true) + 1)
    return ranking.scores[counted], precision, true / max(1, ranking.num_positives)


def _false_before(ranking: Ranking, weights: Weights) -> Weights:
    """Return the weighted number of not special detections before each special one, (B, S)."""
    is_special = np.zeros(len(ranking.image), dtype=np.bool_)
    is_special[ranking.special] = True
    edges = np.concatenate([[0], ranking.special - np.arange(len(ranking.special))])
    sums = np.zeros((len(weights), len(ranking.special)), dtype=weights.dtype)
    filled = np.flatnonzero(np.diff(edges))
    if len(filled):
        each = weights.take(ranking.image[~is_special][: edges[-1]], axis=1)
        sums[:, filled] = np.add.reduceat(each, edges[filled], axis=1)
    return np.cumsum(sums, axis=1, out=sums)


def _curve(status: NDArray[np.int8], special: Weights, before: Weights) -> tuple[Weights, Weights]:
    """Return true positives so far and the best precision from there on, (B, R), at each hit.

    Args:
        status: (S,) of the special detections.
        special: (B, S) their weights.
        before: (B, S) weights of the others before them.
    """
    is_hit, is_counted = status == TRUE, status != IGNORED
    hits = np.cumsum(special[:, is_hit], axis=1)
    seen = np.cumsum(special[:, is_counted], axis=1)[:, is_hit[is_counted]] + before[:, is_hit]
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return hits, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]


def _area(hits: Weights, best: Weights, positives: Weights, recalls: Floats | None) -> Floats:
    """Return the area under each of B curves, (B,)."""
    safe = np.maximum(positives, 1).astype(np.float64)
    if recalls is None:
        steps = np.diff(hits, axis=1, prepend=0.0).astype(np.float64)
        areas = (steps * best).sum(axis=1) / safe
    else:
        padded = np.concatenate([best, np.zeros((len(best), 1), dtype=best.dtype)], axis=1)
        recall = hits / safe[:, None]
        places = np.stack([np.searchsorted(row, recalls) for row in recall])
        areas = np.take_along_axis(padded, places, axis=1).mean(axis=1, dtype=np.float64)
    return np.where(positives > 0, areas, np.nan)
