"""The metric of the Open Images Challenge 2019, for masks and for boxes.

As the organisers' evaluator computes it (the TensorFlow Object Detection API, its class
OpenImagesChallengeEvaluator): average precision at an IoU of 0.5, the whole area under the curve,
where only what people verified counts. A detection is, best score first,

1. left out, if nobody verified its class on its image, or if its mask is empty;
2. true, if it is the first one whose best truth of its class this is, at an IoU of at least 0.5;
3. for masks: ignored, if it is the first one whose tight box so fits an object without a mask;
4. ignored, if at least half of its box is inside a group-of box of its class; in the box metric the
   best such detection counts as one true positive, the group-of box as one object;
5. false otherwise.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import SEGM, Detections
from oiv5_d2.evaluation.hierarchy import Above, expand_labels, expand_truth
from oiv5_d2.evaluation.matching import place_in_group, ranking_of
from oiv5_d2.evaluation.overlaps import (
    Indices,
    box_ious,
    box_shares,
    mask_ious,
    pair_up,
    to_corners,
)
from oiv5_d2.evaluation.rankings import (
    FALSE,
    IGNORED,
    TRUE,
    Ranking,
    Values,
    Weights,
    average_precision,
    average_precisions,
    mean_of_classes,
)
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.results import Metrics, Protocol

MIN_IOU = 0.5
MIN_SHARE = 0.5  # of a detection's box, inside a group-of box
MOST = 10_000  # detections of a class on an image
GROUP_OF_WEIGHT = {"segm": 0, "bbox": 1}
NAME = "AP50"
PROTOCOL = (
    "Open Images Challenge 2019: average precision at IoU 0.5, the whole area under the curve; "
    "only classes that were verified on an image count; for masks, objects without a mask and "
    "group-of boxes are ignored; for boxes, a group-of box is one object (as the TensorFlow Object "
    "Detection API computes it)"
)
TIES = "detections of equal score are ranked by their place in the file"


@dataclass(frozen=True)
class Pairs:
    """Detections and truths of the same image and class.

    Attributes:
        found: (P,) positions of detections by rank.
        truth: (P,) positions of truths.
        overlap: (P,) IoU, or the share of the detection.
    """

    found: Indices
    truth: Indices
    overlap: NDArray[np.float64]

    def best(self, least: float) -> tuple[Indices, Indices]:
        """Return each detection with the truth that it overlaps most, if by `least` or more."""
        order = np.lexsort((self.truth, -self.overlap, self.found))
        found, first = np.unique(self.found[order], return_index=True)
        chosen = order[first]
        enough = self.overlap[chosen] >= least
        return found[enough], self.truth[chosen][enough]


def evaluate(truth: Truth, detections: Detections, task: str, above: Above) -> Metrics:
    """Return ``AP50`` and ``AP50-<class>``, 0 to 100; NaN for a class without a countable object.

    Args:
        truth: what is to be found.
        detections: what was found; with masks for the task ``segm``.
        task: ``segm`` or ``bbox``.
        above: which classes are above which.
    """
    weights = np.ones((1, len(truth.images)))
    per_class = {
        f"{NAME}-{name}": 100 * float(average_precision(ranking, weights, None)[0, 0])
        for name, ranking in zip(truth.classes, rank(truth, detections, task, above), strict=True)
    }
    measured = [value for value in per_class.values() if not np.isnan(value)]
    return {NAME: float(np.mean(measured)) if measured else float("nan"), **per_class}


def resampled(
    truth: Truth, detections: Detections, task: str, above: Above, weights: Weights
) -> Values:
    """Return the same numbers with every image weighted as often as it was drawn."""
    rankings = rank(truth, detections, task, above)
    found = average_precisions(rankings, weights, None)[:, 0]
    per_class = {f"{NAME}-{name}": 100 * found[i] for i, name in enumerate(truth.classes)}
    return {NAME: mean_of_classes(found), **per_class}


def describe(truth: Truth) -> Protocol:
    """Return what is measured, and where that departs from the challenge on this truth."""
    found = [TIES]
    if truth.verified is None:
        found.append(
            "the truth has no verified labels: a class counts on an image only if it has an "
            "annotation there, so false detections on other images cost nothing"
        )
    if any(one.get("mask_path") and not one["iscrowd"] for one in truth.records):
        found.append("the box of an object with a mask is the mask's tight box, not the drawn one")
    filtered = [str(one.get("ignore_reason")) for one in truth.records]
    if any(one.startswith("filtered") or one == "low predicted IoU" for one in filtered):
        found.append("objects that the settings filtered count as objects without a mask")
    if any(one == "depiction" for one in filtered):
        found.append("a depiction counts as an object without a mask")
    return Protocol(PROTOCOL, tuple(found))


def rank(truth: Truth, detections: Detections, task: str, above: Above) -> list[Ranking]:
    """Return each class's detections and what they are, as `evaluate` describes it."""
    verified = verified_classes(truth, above)
    truth = expand_truth(truth, above)
    has_target = truth.has_mask if task == SEGM else np.ones(len(truth.image), dtype=np.bool_)
    has_target = has_target & ~truth.is_group_of
    found = _admit(detections, verified, task)
    status = np.full(len(found), FALSE, dtype=np.int8)
    status[_match(truth, found, task, status, has_target)] = TRUE
    if task == SEGM:
        unmasked = ~truth.has_mask & ~truth.is_group_of
        status[_match(truth, found, "bbox", status, unmasked)] = IGNORED
    best_inside, inside = _inside_groups(truth, found, status)
    status[inside] = IGNORED
    if GROUP_OF_WEIGHT[task]:
        status[best_inside[found.scores[best_inside] > 0]] = TRUE
        has_target = has_target | truth.is_group_of
    return [
        ranking_of(truth, found, found.category == index, status, has_target, index)
        for index in range(len(truth.classes))
    ]


def verified_classes(truth: Truth, above: Above) -> NDArray[np.bool_]:
    """Return (I, C) True where a class counts: verified by people, or with an annotation."""
    labels = np.zeros((len(truth.images), len(truth.categories)), dtype=np.int8)
    if truth.verified is not None:
        labels = truth.verified
    counts = expand_labels(labels, above)
    truth = expand_truth(truth, above)
    counts[truth.image, truth.category] = True
    return counts


def _admit(detections: Detections, verified: NDArray[np.bool_], task: str) -> Detections:
    """Return the detections that count, best first, with the box that is compared."""
    if task == SEGM:
        detections = replace(detections, boxes=detections.masks.boxes)
    is_admitted = verified[detections.image, detections.category]
    is_admitted &= (detections.boxes[:, 2:] > 0).all(axis=1)
    order = detections.ranks()
    order = order[is_admitted[order]]
    place = detections.image[order].astype(np.int64) * verified.shape[1]
    return detections.take(order[place_in_group(place + detections.category[order]) < MOST])


def _match(
    truth: Truth,
    found: Detections,
    task: str,
    status: NDArray[np.int8],
    wanted: NDArray[np.bool_],
) -> Indices:
    """Return the still false detections that are the first to hit their best truth."""
    pairs = _pairs(truth, found, status == FALSE, wanted)
    if task == SEGM:
        overlap = _mask_overlaps(truth, found, pairs)
    else:
        overlap = box_ious(*_corners(truth, found, pairs))
    hits, targets = Pairs(*pairs, overlap).best(MIN_IOU)
    _, first = np.unique(targets, return_index=True)  # hits are in the order of their scores
    return hits[first]


def _inside_groups(
    truth: Truth, found: Detections, status: NDArray[np.int8]
) -> tuple[Indices, Indices]:
    """Return the best still false detection inside each group-of box, and all of them."""
    pairs = _pairs(truth, found, status == FALSE, truth.is_group_of)
    shares = box_shares(*_corners(truth, found, pairs))
    inside, groups = Pairs(*pairs, shares).best(MIN_SHARE)
    _, first = np.unique(groups, return_index=True)
    return inside[first], inside


def _pairs(
    truth: Truth, found: Detections, left: NDArray[np.bool_], right: NDArray[np.bool_]
) -> tuple[Indices, Indices]:
    """Return the pairs of one image and class, of some detections and some truths."""
    num_classes = len(truth.categories)
    lefts, rights = np.flatnonzero(left), np.flatnonzero(right)
    keys = [
        one.image[some].astype(np.int64) * num_classes + one.category[some]
        for one, some in ((found, lefts), (truth, rights))
    ]
    a, b = pair_up(*keys)
    return lefts[a], rights[b]


def _corners(
    truth: Truth, found: Detections, pairs: tuple[Indices, Indices]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both boxes of each pair in fractions of the image, in which they are compared."""
    sizes = truth.sizes[truth.image[pairs[1]]]
    return to_corners(found.boxes[pairs[0]], sizes), to_corners(truth.boxes[pairs[1]], sizes)


def _mask_overlaps(
    truth: Truth, found: Detections, pairs: tuple[Indices, Indices]
) -> NDArray[np.float64]:
    """Return mask IoUs in single precision, in which the organisers' code compares them."""
    tight = replace(truth, boxes=truth.masks.boxes)
    touching = box_ious(*_corners(tight, found, pairs)) > 0
    order = np.lexsort((pairs[1], pairs[0], truth.image[pairs[1]]))
    order = order[touching[order]]
    chosen = pairs[0][order], pairs[1][order]
    overlap = np.zeros(len(pairs[0]), dtype=np.float32)
    overlap[order] = mask_ious(found.masks, truth.masks, chosen, np.zeros(len(truth.image), bool))
    return overlap.astype(np.float64)
