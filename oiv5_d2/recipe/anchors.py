"""Anchors measured on the data: how well those of a model fit its objects, and which fit better.

Sizes and aspect ratios start as the centres of two k-means clusterings whose distance is 1 - IoU,
as YOLOv2 finds its anchors (Redmon and Farhadi, YOLO9000, CVPR 2017, section 2, "Dimension
Clusters"), and are then improved where they lie. A feature pyramid has one size a level, and the
same ratios on all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.recipe.objects import Floats, Indices

ROUNDS = 50  # of k-means; a dozen is enough
MOST_SEARCHED = 3_000  # boxes that anchors are chosen for; more are thinned out evenly
STEPS = (1.15, 1.05)  # factors by which a size or ratio is changed on trial
LEAST_GAIN = 1e-4  # of mean IoU and recall, for which a step is made
FOUND = 0.5  # IoU from which on an anchor counts as a match for an object


class Anchors(NamedTuple):
    """The anchors of a feature pyramid.

    Attributes:
        sizes: px, the square root of the area, one a level.
        ratios: height / width, on all levels.
        strides: px between two anchors, of each level.
    """

    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    strides: tuple[int, ...]


def propose(boxes: Floats, class_of: Indices, like: Anchors) -> Anchors:
    """Return as many sizes and ratios as `like` has, chosen for the boxes; the strides stay.

    Clustering sees shapes only. But the coarse levels have so few anchors that small boxes lie
    between them, so both what it finds and `like` are improved, a number at a time, on the grids.
    Each class counts the same, however many objects it has, as it does in the mean AP.

    Args:
        boxes: (N, 4), xywh_abs in the model's frame, N at least 1.
        class_of: (N,), a class each.
        like: the model's own anchors.
    """
    boxes, class_of = (_thinned(each, MOST_SEARCHED) for each in (boxes, class_of))
    weights = 1 / np.bincount(class_of)[class_of]

    def score(anchors: Anchors) -> float:
        best = best_overlaps(boxes, anchors)
        return float(np.average(best + (best >= FOUND), weights=weights))

    found = [_climb(start, score) for start in (like, _clustered(boxes, weights, like))]
    return max(found, key=score)


def _thinned(values: NDArray[Any], most: int) -> NDArray[Any]:
    return values[:: -(-len(values) // most)]


def _clustered(boxes: Floats, weights: Floats, like: Anchors) -> Anchors:
    width, height = np.maximum(boxes[:, 2:], 1.0).T
    sizes = _cluster(np.sqrt(width * height), weights, len(like.sizes), power=2)
    ratios = _cluster(height / width, weights, len(like.ratios), power=0.5)
    return Anchors(tuple(sizes.tolist()), tuple(ratios.tolist()), like.strides)


def _climb(start: Anchors, score: Callable[[Anchors], float]) -> Anchors:
    """Return the anchors that no single step makes better, rounded."""
    best, top = start, score(start)
    for step in STEPS:
        is_better = True
        while is_better:
            is_better = False
            for near in _neighbours(best, step):
                if (found := score(near)) > top + LEAST_GAIN:
                    best, top, is_better = near, found, True
    sizes = tuple(float(max(1, round(size))) for size in best.sizes)
    return Anchors(sizes, tuple(round(ratio, 2) for ratio in best.ratios), best.strides)


def _neighbours(anchors: Anchors, step: float) -> Iterator[Anchors]:
    """Yield the anchors with one number a step larger or smaller; sizes never fall with levels."""
    numbers = (*anchors.sizes, *anchors.ratios)
    for index in range(len(numbers)):
        for factor in (step, 1 / step):
            moved = [*numbers]
            moved[index] *= factor
            sizes, ratios = moved[: len(anchors.sizes)], moved[len(anchors.sizes) :]
            if sizes == sorted(sizes) and ratios == sorted(ratios):
                yield Anchors(tuple(sizes), tuple(ratios), anchors.strides)


def _cluster(values: Floats, weights: Floats, k: int, power: float) -> Floats:
    """Return k ascending centres of positive values (N,) under the distance 1 - IoU.

    With both on one centre the IoU of two squares is (smaller / larger size) ** 2, and about
    (smaller / larger ratio) ** 0.5 for two boxes of one area.
    """
    order = np.argsort(values, kind="stable")
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    centres = np.interp((np.arange(k) + 0.5) / k, share, values[order])
    for _ in range(ROUNDS):
        overlap = np.exp(-power * np.abs(np.log(values[:, None] / centres)))
        nearest = overlap.argmax(axis=1)
        moved = [_centre(values[nearest == i], weights[nearest == i], centres[i]) for i in range(k)]
        if np.allclose(moved, centres, rtol=1e-6):
            break
        centres = np.array(moved)
    return np.sort(centres)


def _centre(values: Floats, weights: Floats, former: float) -> float:
    """Return a cluster's weighted mean on the logarithmic scale that the distance has."""
    return float(np.exp(np.average(np.log(values), weights=weights))) if len(values) else former


def best_overlaps(boxes: Floats, anchors: Anchors) -> Floats:
    """Return each box's best IoU (N,) with the anchors where they are on their grids.

    Anchors are centred on multiples of their level's stride; of each shape the nearest one counts.

    Args:
        boxes: (N, 4), xywh_abs in the model's frame.
        anchors: of all levels.
    """
    best = np.zeros(len(boxes))
    for size, stride in zip(anchors.sizes, anchors.strides, strict=True):
        for ratio in anchors.ratios:
            shape = size / np.sqrt(ratio), size * np.sqrt(ratio)  # width, height
            best = np.maximum(best, _overlap(boxes, np.array(shape), stride))
    return best


def _overlap(boxes: Floats, shape: Floats, stride: int) -> Floats:
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    away = np.abs(centres - np.round(centres / stride) * stride)
    inner = np.minimum(np.minimum(boxes[:, 2:], shape), (boxes[:, 2:] + shape) / 2 - away)
    common = np.maximum(inner, 0).prod(axis=1)
    whole: Floats = common / (boxes[:, 2:].prod(axis=1) + shape.prod() - common)
    return whole


class Fit(NamedTuple):
    """How well anchors fit some objects.

    Attributes:
        num: how many they are.
        recall: the share with a best IoU of `FOUND` or more, 0 to 1.
        overlap: the mean of their best IoU, 0 to 1.
    """

    num: int
    recall: float
    overlap: float


def measure(
    boxes: Floats, class_of: Indices, anchors: Anchors, classes: Sequence[str]
) -> dict[str, Fit]:
    """Return the fit for each class that has objects, by its name."""
    best = best_overlaps(boxes, anchors)
    fits = {}
    for index, name in enumerate(classes):
        of_class = best[class_of == index]
        if len(of_class):
            recall, overlap = (of_class >= FOUND).mean(), of_class.mean()
            fits[name] = Fit(len(of_class), float(recall), float(overlap))
    return fits
