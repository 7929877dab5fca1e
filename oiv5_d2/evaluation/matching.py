"""Which detection is which object, as COCO matches them, at its ten overlaps.

What is in view is found and counted, what is not is ignored: objects of other sizes for COCO's
APs, APm and APl, objects that are not occluded for a slice of the occluded ones. Only detections
that overlap something are looked at one by one; all groups of an image and a class go on in step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import SEGM, Detections
from oiv5_d2.evaluation.overlaps import (
    Indices,
    crowd_box_ious,
    mask_ious,
    may_be_half,
    pair_up,
)
from oiv5_d2.evaluation.rankings import FALSE, IGNORED, TRUE, Ranking
from oiv5_d2.evaluation.truth import Truth, image_order

OVERLAPS = np.linspace(0.5, 0.95, 10)
_LEAST = np.minimum(OVERLAPS, 1 - 1e-10)  # as pycocotools compares
MOST = 100  # detections of a class on an image
NONE = -1


@dataclass(frozen=True)
class View:
    """What of truths and detections is counted; the rest is ignored.

    Attributes:
        objects: (M,) bool, of the truths; crowds are ignored anyway.
        areas: the least and the largest area of a detection that is false if it finds nothing.
        images: (I,) bool; detections on others are ignored. None for all.
    """

    objects: NDArray[np.bool_]
    areas: tuple[float, float] = (0.0, np.inf)
    images: NDArray[np.bool_] | None = None


def everything(truth: Truth) -> View:
    """Return the view of all objects."""
    return View(np.ones(len(truth.image), dtype=np.bool_))


@dataclass(frozen=True)
class Candidates:
    """The detections that COCO counts, best first, and what each may be.

    Attributes:
        truth: the objects.
        found: the best 100 detections of each class and image, by score; ties by image.
        areas: (N,) of the detections.
        pairs: (P,) positions of detections and truths of one image and class that overlap by at
            least half, by detection.
        overlap: (P,) their IoU; with a crowd the share of the detection.
    """

    truth: Truth
    found: Detections
    areas: NDArray[np.float64]
    pairs: tuple[Indices, Indices]
    overlap: NDArray[np.float64]

    @property
    def special(self) -> Indices:
        """The positions of the detections that overlap a truth, ascending."""
        return np.unique(self.pairs[0])


def find_candidates(truth: Truth, detections: Detections, task: str) -> Candidates:
    """Return the detections that count, with the truths that they overlap.

    Args:
        truth: what is to be found.
        detections: what was found.
        task: ``segm`` or ``bbox``.
    """
    place = np.argsort(image_order(truth))[detections.image]
    order = np.lexsort((place, -detections.scores))
    kept = order[place_in_group(groups(detections, truth)[order]) < MOST]
    found = detections.take(kept)
    keys = groups(found, truth), groups(truth, truth)
    pairs = pair_up(*keys)
    if task == SEGM:
        areas = detections.masks.areas[kept].astype(np.float64)
        may = may_be_half(areas[pairs[0]], truth.mask_areas[pairs[1]], truth.is_crowd[pairs[1]])
        pairs = pairs[0][may], pairs[1][may]
        order = np.lexsort((pairs[1], pairs[0], keys[0][pairs[0]]))  # by image and class
        in_groups = pairs[0][order], pairs[1][order]
        overlap = np.empty(len(order))
        overlap[order] = mask_ious(found.masks, truth.masks, in_groups, truth.is_crowd)
    else:
        boxes = found.boxes[pairs[0]], truth.boxes[pairs[1]]
        overlap = crowd_box_ious(*boxes, truth.is_crowd[pairs[1]])
        areas = found.boxes[:, 2] * found.boxes[:, 3]
    near = overlap >= _LEAST[0]
    return Candidates(truth, found, areas, (pairs[0][near], pairs[1][near]), overlap[near])


def match(candidates: Candidates, view: View) -> NDArray[np.int64]:
    """Return the truth that each special detection is, at each overlap: (S, 10), -1 for none."""
    special = candidates.special
    target = np.full((len(special), len(OVERLAPS)), NONE, dtype=np.int64)
    if not len(special):
        return target
    is_ignored = candidates.truth.is_crowd | ~view.objects
    for group in _groups(candidates, special):
        _match_groups(group, is_ignored, candidates.truth.is_crowd, target)
    return target


def rank(
    candidates: Candidates, view: View, target: NDArray[np.int64] | None = None
) -> list[Ranking]:
    """Return the ranking of each class in a view.

    Args:
        candidates: the detections.
        view: what counts.
        target: of `match`, if it is known already.
    """
    truth, found, special = candidates.truth, candidates.found, candidates.special
    target = match(candidates, view) if target is None else target
    outside = (candidates.areas < view.areas[0]) | (candidates.areas > view.areas[1])
    if view.images is not None:
        outside = outside | ~view.images[found.image]
    is_ignored = truth.is_crowd | ~view.objects
    status = np.where(outside[special], IGNORED, FALSE).astype(np.int8)[:, None]
    status = np.where(target == NONE, status, np.where(is_ignored[target], IGNORED, TRUE))
    is_kept = ~outside
    is_kept[special] = True
    positives = ~is_ignored
    return [
        _ranking(candidates, category, is_kept, status.astype(np.int8), positives)
        for category in range(len(truth.categories))
    ]


def ranking_of(
    truth: Truth,
    found: Detections,
    chosen: NDArray[np.bool_],
    status: NDArray[np.int8],
    positives: NDArray[np.bool_],
    category: int,
) -> Ranking:
    """Return the ranking of one class at one overlap, from the status of all detections.

    Args:
        truth: the objects.
        found: the detections.
        chosen: (N,) those of the class.
        status: (N,) TRUE, FALSE or IGNORED.
        positives: (M,) the objects to find.
        category: index of the class.
    """
    own = np.flatnonzero(chosen)
    special = np.flatnonzero(status[own] != FALSE)
    targets = truth.image[positives & (truth.category == category)]
    return Ranking(
        scores=found.scores[own],
        image=found.image[own],
        special=special,
        status=status[own][special][:, None],
        positives=np.bincount(targets, minlength=len(truth.images)),
    )


def groups(of: Detections | Truth, truth: Truth) -> NDArray[np.int64]:
    """Return the image and class of each detection or annotation as one number, (N,)."""
    numbers: NDArray[np.int64] = of.image.astype(np.int64) * len(truth.categories) + of.category
    return numbers


def place_in_group(keys: Indices) -> Indices:
    """Return for each key how many equal ones come before it."""
    order = np.argsort(keys, kind="stable")
    is_first = np.diff(keys[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(keys)), 0))
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.arange(len(keys)) - first
    return place


def _ranking(
    candidates: Candidates,
    category: int,
    is_kept: NDArray[np.bool_],
    status: NDArray[np.int8],
    positives: NDArray[np.bool_],
) -> Ranking:
    truth, found = candidates.truth, candidates.found
    chosen = np.flatnonzero(is_kept & (found.category == category))
    special = candidates.special
    own = (found.category[special] == category) & (status != FALSE).any(axis=1)
    targets = truth.image[positives & (truth.category == category)]
    return Ranking(
        scores=found.scores[chosen],
        image=found.image[chosen],
        special=np.searchsorted(chosen, special[own]),
        status=status[own],
        positives=np.bincount(targets, minlength=len(truth.images)),
    )


@dataclass(frozen=True)
class _Group:
    """Groups of one image and class with about as many truths: G groups, at most D and K of each.

    Attributes:
        rows: (G, D) positions in the special detections, by score; -1 where there are fewer.
        truths: (G, K) positions of truths; -1 where there are fewer.
        overlap: (G, D, K), 0 for no overlap.
    """

    rows: Indices
    truths: Indices
    overlap: NDArray[np.float64]


def _groups(candidates: Candidates, special: Indices) -> Iterator[_Group]:
    """Yield the groups, those with up to 1, 2, 4 ... truths together."""
    left, right = candidates.pairs
    truth = candidates.truth
    keys = truth.image[right].astype(np.int64) * len(truth.categories) + truth.category[right]
    rows = np.searchsorted(special, left)
    key_of_row = np.zeros(len(special), dtype=np.int64)
    key_of_row[rows] = keys
    truths, of_pair = np.unique(right, return_inverse=True)
    key_of_truth = truth.image[truths].astype(np.int64) * len(truth.categories)
    key_of_truth += truth.category[truths]
    names, number = np.unique(key_of_truth, return_counts=True)
    size = np.ceil(np.log2(number)).astype(np.int64)
    row_place, truth_place = place_in_group(key_of_row), place_in_group(key_of_truth)
    row_group = np.searchsorted(names, key_of_row)
    truth_group = np.searchsorted(names, key_of_truth)
    for each in np.unique(size):
        number_of = np.cumsum(size == each) - 1  # the group's place among those of this size
        own_rows, own_truths = size[row_group] == each, size[truth_group] == each
        own_pairs = own_rows[rows]
        num_groups = int((size == each).sum())
        shape = num_groups, row_place[own_rows].max() + 1, truth_place[own_truths].max() + 1
        places = [np.full(shape[:2], NONE), np.full(shape[::2], NONE)]
        places[0][number_of[row_group[own_rows]], row_place[own_rows]] = np.flatnonzero(own_rows)
        places[1][number_of[truth_group[own_truths]], truth_place[own_truths]] = truths[own_truths]
        overlap = np.zeros(shape)
        where = rows[own_pairs], of_pair[own_pairs]
        overlap[number_of[row_group[where[0]]], row_place[where[0]], truth_place[where[1]]] = (
            candidates.overlap[own_pairs]
        )
        yield _Group(places[0], places[1], overlap)


def _match_groups(
    group: _Group,
    is_ignored: NDArray[np.bool_],
    is_crowd: NDArray[np.bool_],
    target: NDArray[np.int64],
) -> None:
    """Match detection after detection, in all groups at once; fill their rows of `target`."""
    ignored, crowd = is_ignored[group.truths], is_crowd[group.truths]
    free = np.ones((len(group.rows), len(OVERLAPS), group.truths.shape[1]), dtype=np.bool_)
    for step in range(group.rows.shape[1]):
        active = np.flatnonzero(group.rows[:, step] != NONE)
        iou = group.overlap[active, step][:, None, :]
        fits = (iou >= _LEAST[:, None]) & free[active]
        wanted = fits & ~ignored[active][:, None, :]
        fits = np.where(wanted.any(axis=2, keepdims=True), wanted, fits)
        # Of equal overlaps the last one, as pycocotools has it.
        best = fits.shape[2] - 1 - np.argmax(np.where(fits, iou, -1.0)[:, :, ::-1], axis=2)
        is_hit = fits.any(axis=2)
        rows, lanes = np.nonzero(is_hit)
        places = best[rows, lanes]
        target[group.rows[active[rows], step], lanes] = group.truths[active[rows], places]
        taken = ~crowd[active[rows], places]
        free[active[rows[taken]], lanes[taken], places[taken]] = False
