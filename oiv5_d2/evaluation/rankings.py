"""Average precision of ranked detections, with every image weighted as often as it was drawn.

One `Ranking` gives the average precision of a class on all images (weights of one) and on any
number of resamples of them at once. Detections that overlap nothing are false at every threshold
and most of all: they are only summed up between the few that matter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.floating]  # (I, B): how often each image is in each of B resamples
Floats = NDArray[np.float64]

TRUE, FALSE, IGNORED = 1, 0, -1
RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO reads the precision
BLOCK = 64  # resamples that are computed together


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
        weights: of the images; their type is that of the sums.
        recalls: read the precision there, as COCO does; None for the whole area under the curve,
            as PASCAL VOC 2010 and Open Images do.
    """
    num_overlaps = ranking.status.shape[1]
    found = np.full((num_overlaps, weights.shape[1]), np.nan)
    if not ranking.num_positives:
        return found
    for start in range(0, weights.shape[1], BLOCK):
        block = np.ascontiguousarray(weights[:, start : start + BLOCK])
        positives = ranking.positives.astype(block.dtype) @ block
        before = _false_before(ranking, block)
        for t in range(num_overlaps):
            curve = _curve(ranking, t, block, before)
            found[t, start : start + BLOCK] = _area(*curve, positives, recalls)
    return found


def precision_recall(ranking: Ranking, overlap: int) -> tuple[Floats, Floats, Floats]:
    """Return scores, precision and recall at every counted detection, best score first."""
    status = np.full(len(ranking.scores), FALSE, dtype=np.int8)
    status[ranking.special] = ranking.status[:, overlap]
    counted = status != IGNORED
    true = np.cumsum(status[counted] == TRUE)
    precision = true / np.arange(1, len(true) + 1)
    return ranking.scores[counted], precision, true / max(1, ranking.num_positives)


def _false_before(ranking: Ranking, weights: Weights) -> Weights:
    """Return the weighted number of not special detections before each special one, (S, B)."""
    is_special = np.zeros(len(ranking.image), dtype=np.bool_)
    is_special[ranking.special] = True
    starts = ranking.special - np.arange(len(ranking.special))  # among those that are not
    images = ranking.image[~is_special]
    sums = np.zeros((len(starts), weights.shape[1]), dtype=weights.dtype)
    edges = np.concatenate([[0], starts])
    filled = np.flatnonzero(np.diff(edges))
    if len(filled):
        rows = weights[images[: starts[-1]]]
        sums[filled] = np.add.reduceat(rows, edges[filled], axis=0)
    return np.cumsum(sums, axis=0, out=sums)


def _curve(
    ranking: Ranking, overlap: int, weights: Weights, before: Weights
) -> tuple[Weights, Weights]:
    """Return true positives so far and the best precision from there on, (R, B), at each hit."""
    status = ranking.status[:, overlap]
    of_special = weights[ranking.image[ranking.special]]
    is_hit = status == TRUE
    hits = np.cumsum(of_special[is_hit], axis=0)
    false = np.cumsum(of_special * (status == FALSE)[:, None], axis=0)[is_hit]
    seen = hits + false + before[is_hit]
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return hits, best


def _area(hits: Weights, best: Weights, positives: Weights, recalls: Floats | None) -> Floats:
    """Return the area under each of B curves, (B,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if recalls is None:
            steps = np.diff(hits, axis=0, prepend=0.0).astype(np.float64)
            return np.where(positives > 0, (steps * best).sum(axis=0) / positives, np.nan)
        recall = hits.astype(np.float64) / positives
    padded = np.vstack([best, np.zeros((1, best.shape[1]), dtype=best.dtype)])
    places = [np.searchsorted(column, recalls) for column in recall.T]
    means = [padded[place, b].mean(dtype=np.float64) for b, place in enumerate(places)]
    return np.where(positives > 0, means, np.nan)
