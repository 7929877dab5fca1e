"""Which class was taken for which, of the detections that their class's threshold lets through.

An object is first what a detection of its own class found. What is left of the detections, best
score first, goes to the objects that are left and that they overlap by half or more.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.errors import FOREGROUND, Errors, find_neighbours
from oiv5_d2.evaluation.matching import Candidates
from oiv5_d2.evaluation.overlaps import Indices
from oiv5_d2.evaluation.rankings import FALSE, TRUE


def describe_confusion(
    candidates: Candidates, errors: Errors, task: str, thresholds: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the names of the classes and the counts of `confuse`, as lists."""
    counts = confuse(candidates, errors, task, thresholds)
    return {"classes": candidates.truth.classes, "counts": counts.tolist()}


def confuse(
    candidates: Candidates, errors: Errors, task: str, thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many objects of each class, by row, were found as each class, by column.

    The last column has the objects that were missed, the last row the detections of nothing:
    background, and objects that were found already.

    Args:
        candidates: the detections.
        errors: their states.
        task: ``segm`` or ``bbox``.
        thresholds: (C,) the least score of a class's detections.

    Returns:
        (C + 1, C + 1)
    """
    truth, found = candidates.truth, candidates.found
    nothing = len(truth.categories)
    counted = found.scores >= thresholds[found.category]
    hits, left = (np.flatnonzero(counted & (errors.status == one)) for one in (TRUE, FALSE))
    found_as = np.full(len(truth.image), nothing, dtype=np.int64)
    found_as[errors.target[hits]] = found.category[hits]
    of_object = np.full(len(found), nothing, dtype=np.int64)
    for detection, target in _overlapping(candidates, task, left):
        if of_object[detection] == nothing and found_as[target] == nothing:
            found_as[target] = found.category[detection]
            of_object[detection] = truth.category[target]
    counts = np.zeros((nothing + 1, nothing + 1), dtype=np.int64)
    objects = ~truth.is_crowd
    np.add.at(counts, (truth.category[objects], found_as[objects]), 1)
    background = left[of_object[left] == nothing]
    np.add.at(counts, (nothing, found.category[background]), 1)
    return counts


def _overlapping(candidates: Candidates, task: str, chosen: Indices) -> NDArray[np.int64]:
    """Return pairs of a chosen detection and an object, (P, 2): best score, then overlap, first."""
    is_chosen = np.zeros(len(candidates.found), dtype=np.bool_)
    is_chosen[chosen] = True
    pairs, overlap = find_neighbours(candidates, task, is_chosen)
    near = overlap >= FOREGROUND
    order = np.lexsort((-overlap[near], pairs[0][near]))  # detections are ranked by score
    return np.stack([one[near][order] for one in pairs], axis=1)
