"""Two sets of detections on one truth: what differs, and whether chance explains it.

Both are evaluated on the same resamples of the images, so that what is hard for both cancels. p is
twice the smaller share of resamples in which the difference is not positive, or not negative.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.hierarchy import Above
from oiv5_d2.evaluation.intervals import draw, everything, interval
from oiv5_d2.evaluation.matching import View, find_candidates, match, rank
from oiv5_d2.evaluation.rankings import RECALLS, Weights, average_precision
from oiv5_d2.evaluation.scoring import resampled
from oiv5_d2.evaluation.slices import slices
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.results import Interval

Pair = tuple[Detections, Detections]
Values = NDArray[np.float64]


class Difference(NamedTuple):
    """One number of both, 0 to 100.

    Attributes:
        name: ``<task>/<metric>``, or ``slice: <name>``.
        first: of the first run.
        second: of the second run.
        interval: of the second minus the first.
        p: of so large a difference by chance.
    """

    name: str
    first: float
    second: float
    interval: Interval
    p: float

    @property
    def is_clear(self) -> bool:
        """True if the interval leaves out zero."""
        return not self.interval[0] <= 0 <= self.interval[1]


def compare(
    truth: Truth, pair: Pair, above: Above, tasks: Sequence[str], resamples: int
) -> list[Difference]:
    """Return the difference of every metric."""
    weights, plain = draw(len(truth.images), resamples), everything(len(truth.images))
    once, often = (
        [resampled(truth, found, above, tasks, by) for found in pair] for by in (plain, weights)
    )
    return [
        _difference(
            f"{task}/{name}",
            [one[task][name] for one in once],
            [one[task][name] for one in often],
        )
        for task, metrics in once[0].items()
        for name in metrics
    ]


def compare_slices(
    truth: Truth, pair: Pair, task: str, names: Mapping[str, str], resamples: int
) -> list[Difference]:
    """Return the difference of AP50 in each slice of the objects."""
    weights, plain = draw(len(truth.images), resamples), everything(len(truth.images))
    candidates = [find_candidates(truth, found, task) for found in pair]
    differences = []
    for name, view in slices(truth, names).items():
        rankings = [rank(one, view) for one in candidates]
        once, often = ([_half(some, by) for some in rankings] for by in (plain, weights))
        differences.append(_difference(f"slice: {name}", once, often))
    return differences


def changed_images(truth: Truth, pair: Pair, task: str) -> list[dict[str, Any]]:
    """Return the images by how much their F1 at an overlap of 0.5 changed, the largest first."""
    scores = [image_scores(truth, found, task) for found in pair]
    change = scores[1] - scores[0]
    order = np.argsort(-np.abs(change), kind="stable")
    return [
        {
            "image": truth.images[i].get("open_images_id", truth.images[i]["id"]),
            "first": float(scores[0][i]),
            "second": float(scores[1][i]),
        }
        for i in order
        if change[i]
    ]


def image_scores(truth: Truth, found: Detections, task: str, least: float = 0.5) -> Values:
    """Return each image's F1 of detections of at least a score, (I,), 1 where nothing is asked."""
    candidates = find_candidates(truth, found.take(found.scores >= least), task)
    target = np.full(len(candidates.found), -1, dtype=np.int64)
    every = View(np.ones(len(truth.image), dtype=np.bool_))
    target[candidates.special] = match(candidates, every)[:, 0]
    is_ignored = (target >= 0) & truth.is_crowd[target] if len(truth.image) else target >= 0
    is_hit = (target >= 0) & ~is_ignored
    number = len(truth.images)
    hits, guesses, objects = (
        np.bincount(images, minlength=number)
        for images in (
            candidates.found.image[is_hit],
            candidates.found.image[~is_ignored],
            truth.image[~truth.is_crowd],
        )
    )
    total = guesses + objects
    scores: Values = np.divide(2 * hits, total, out=np.ones(number), where=total > 0)
    return scores


def _half(rankings: Sequence[Any], weights: Weights) -> Values:
    """Return the mean AP50 over the classes that are in the slice, (B,)."""
    found = np.stack([average_precision(one, weights, RECALLS)[0] for one in rankings])
    is_measured = ~np.isnan(found)
    total, number = np.where(is_measured, found, 0).sum(axis=0), is_measured.sum(axis=0)
    mean: Values = np.full(len(number), np.nan)
    np.divide(100 * total, number, out=mean, where=number > 0)
    return mean


def _difference(name: str, once: Sequence[Values], often: Sequence[Values]) -> Difference:
    change = often[1] - often[0]
    change = change[~np.isnan(change)]
    shares = [float((change <= 0).mean()), float((change >= 0).mean())] if len(change) else [1.0]
    p = min(1.0, max(2 * min(shares), 1 / (len(change) + 1)))
    return Difference(name, float(once[0][0]), float(once[1][0]), interval(change), p)
