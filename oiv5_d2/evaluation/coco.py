"""COCO's average precision, by a library in Rust that gives pycocotools' numbers.

Images go to it in chunks, and it keeps what it matched, not the masks: memory stays small. Most
time goes into reading run lengths, so only masks that could match something are handed over.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from hotcoco import COCOeval, StreamingEval
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import SEGM, Detections
from oiv5_d2.evaluation.hierarchy import Above
from oiv5_d2.evaluation.matching import View, find_candidates, groups
from oiv5_d2.evaluation.matching import rank as rank_view
from oiv5_d2.evaluation.overlaps import may_be_half, pair_up
from oiv5_d2.evaluation.rankings import (
    RECALLS,
    Ranking,
    Values,
    Weights,
    average_precisions,
    mean_of_classes,
)
from oiv5_d2.evaluation.truth import Truth, image_order
from oiv5_d2.runs.metrics import COCO
from oiv5_d2.runs.results import Metrics, Protocol

Chunk = tuple[list[Any], list[Any], NDArray[np.float64], list[Any] | None]

AP50_INDEX, AP75_INDEX = 0, 5  # COCO's IoU thresholds are .50, .55 ... .95
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # COCO's four
CHUNK = 200  # images that are matched together
PROTOCOL = (
    "COCO: average precision over IoU 0.50:0.05:0.95 and 101 recalls, at most 100 detections of a "
    "class and image; iscrowd regions are ignored (pycocotools 2)"
)
NOTHING = {"size": [1, 1], "counts": ""}  # an empty mask


def evaluate(
    truth: Truth, detections: Detections, task: str, _above: Above | None = None
) -> Metrics:
    """Return COCO's summary, and AP and AP50 of each class, 0 to 100; NaN without an object.

    Args:
        truth: what is to be found; ``iscrowd`` regions are ignored as COCO does.
        detections: what was found; the best 100 of a class and image count.
        task: ``segm`` or ``bbox``: compare masks or boxes. The area of a detection is that of the
            same.
    """
    names = [{"id": i + 1, "name": name} for i, name in enumerate(truth.classes)]
    streamed = StreamingEval(names, task)
    for images, objects, found, outlines in _chunks(truth, detections, task):
        streamed.update(images, objects, found, segmentation=outlines)
    evaluated = streamed.finalize()
    evaluated.accumulate()
    return _to_metrics(evaluated, truth.classes)


def resampled(
    truth: Truth, detections: Detections, task: str, _above: Above | None, weights: Weights
) -> Values:
    """Return the same numbers with every image weighted as often as it was drawn."""
    every, *sizes = (
        average_precisions(view, weights, RECALLS) for view in rank(truth, detections, task)
    )
    per_class = every.mean(axis=1)
    means = [per_class, every[:, AP50_INDEX], every[:, AP75_INDEX]]
    means += [one.mean(axis=1) for one in sizes]
    return {
        **{name: mean_of_classes(one) for name, one in zip(COCO.summary, means, strict=True)},
        **{f"AP-{name}": 100 * per_class[i] for i, name in enumerate(truth.classes)},
        **{f"AP50-{name}": 100 * every[i, AP50_INDEX] for i, name in enumerate(truth.classes)},
    }


def describe(truth: Truth) -> Protocol:
    """Return what is measured, and where that departs from COCO on this truth."""
    found = []
    if any(one.get("ignore_reason") for one in truth.records):
        found.append(
            "boxes without a mask, group-of boxes and depictions are iscrowd regions, which COCO "
            "has for groups only"
        )
    if truth.verified is not None and not truth.verified.all():
        found.append(
            "a detection of a class that nobody verified on its image counts as false, unless it "
            "finds an object; COCO's own annotation is complete"
        )
    return Protocol(PROTOCOL, tuple(found))


def rank(truth: Truth, detections: Detections, task: str) -> list[list[Ranking]]:
    """Return the rankings of all objects, and of small, medium and large ones; each by class."""
    candidates = find_candidates(truth, detections, task)
    inside = ((truth.areas >= low) & (truth.areas <= high) for low, high in AREAS)
    views = (View(objects, areas) for objects, areas in zip(inside, AREAS, strict=True))
    return [rank_view(candidates, view) for view in views]


def _chunks(truth: Truth, detections: Detections, task: str) -> Iterator[Chunk]:
    """Yield images, objects, detections and, for masks, their outlines; ids are places plus 1."""
    order = image_order(truth)
    rank = np.argsort(order)
    objects, found = _ByImage(rank[truth.image]), _ByImage(rank[detections.image])
    areas = detections.masks.areas.astype(np.float64) if task == SEGM else None
    is_near = None if areas is None else _near(truth, detections, areas)
    for start in range(0, len(order), CHUNK):
        chosen = found.between(start, start + CHUNK)
        outlines = None if is_near is None else _outlines(chosen, detections, is_near)
        yield (
            _images(start, truth, order),
            _objects(objects.between(start, start + CHUNK), truth, rank, task),
            _rows(chosen, detections, rank, areas),
            outlines,
        )


def _near(truth: Truth, detections: Detections, areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (N,) whether a detection could overlap an object of its class by half."""
    pairs = pair_up(groups(detections, truth), groups(truth, truth))
    may = may_be_half(areas[pairs[0]], truth.mask_areas[pairs[1]], truth.is_crowd[pairs[1]])
    is_near = np.zeros(len(detections), dtype=np.bool_)
    is_near[pairs[0][may]] = True
    return is_near


def _outlines(
    found: NDArray[np.int64], detections: Detections, is_near: NDArray[np.bool_]
) -> list[Any]:
    """Return the masks of some detections, an empty one for those that no object can match."""
    near = is_near[found]
    outlines = iter(detections.masks.outlines(found[near]))
    return [next(outlines) if is_one else NOTHING for is_one in near.tolist()]


class _ByImage:
    """Positions, sorted by the place of their image."""

    def __init__(self, places: NDArray[np.int64]) -> None:
        self._order = np.argsort(places, kind="stable")
        self._places = places[self._order]

    def between(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the positions on the images from `start` to before `stop`."""
        first, last = np.searchsorted(self._places, (start, stop))
        return self._order[first:last]


def _images(start: int, truth: Truth, order: NDArray[np.int64]) -> list[dict[str, int]]:
    sizes = truth.sizes[order[start : start + CHUNK]].tolist()
    return [
        {"id": number, "height": height, "width": width}
        for number, (height, width) in enumerate(sizes, start + 1)
    ]


def _objects(
    chosen: NDArray[np.int64], truth: Truth, rank: NDArray[np.int64], task: str
) -> list[dict[str, Any]]:
    columns: dict[str, list[Any]] = {
        "id": (chosen + 1).tolist(),
        "image_id": (rank[truth.image[chosen]] + 1).tolist(),
        "category_id": (truth.category[chosen] + 1).tolist(),
        "bbox": truth.boxes[chosen].tolist(),
        "area": truth.areas[chosen].tolist(),
        "iscrowd": truth.is_crowd[chosen].astype(int).tolist(),
    }
    if task == SEGM:
        columns["segmentation"] = truth.masks.outlines(chosen)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _rows(
    found: NDArray[np.int64],
    detections: Detections,
    rank: NDArray[np.int64],
    areas: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return (N, 7): image id, xywh, score, class id; with areas of masks, boxes of that area.

    The library takes a detection's area from its box, and compares masks where there are some.
    """
    boxes = detections.boxes[found]
    if areas is not None:
        boxes = np.zeros((len(found), 4))
        boxes[:, 2], boxes[:, 3] = areas[found], 1.0
    columns = (rank[detections.image[found]] + 1, *boxes.T)
    scores, classes = detections.scores[found], detections.category[found] + 1
    return np.stack([*columns, scores, classes], axis=1).astype(np.float64)


def _to_metrics(evaluated: COCOeval, classes: list[str]) -> Metrics:
    assert evaluated.eval is not None
    # (iou threshold, recall, class, area range, most detections); 100 detections per image.
    precision = evaluated.eval["precision"][..., -1]
    means = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[AP50_INDEX, ..., 0]),
        "AP75": _mean(precision[AP75_INDEX, ..., 0]),
        **{
            name: _mean(precision[..., area]) for area, name in enumerate(COCO.summary[3:], start=1)
        },
    }
    per_class = {f"AP-{c}": _mean(precision[:, :, i, 0]) for i, c in enumerate(classes)}
    at_half = {f"AP50-{c}": _mean(precision[AP50_INDEX, :, i, 0]) for i, c in enumerate(classes)}
    return {**means, **per_class, **at_half}


def _mean(precision: NDArray[np.float64]) -> float:
    """Return the mean in percent; COCO marks what cannot be measured by -1."""
    measured = precision[precision > -1]
    return float(measured.mean()) * 100 if measured.size else float("nan")
