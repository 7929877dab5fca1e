"""What kinds of errors a model makes, and what each costs in AP50.

The kinds and what would fix them are those of TIDE (Bolya et al., 2020). A false detection is

* place: it overlaps an object of its class by 0.1 to 0.5;
* class: it overlaps an object of another class by 0.5 or more;
* duplicate: it overlaps an object of its class enough, but that is found already;
* background: it overlaps nothing by 0.1;
* both: anything else, such as another class by 0.1 to 0.5.

An object that is not found, and that no error of place or class is about, is missed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import SEGM
from oiv5_d2.evaluation.matching import NONE, Candidates, everything, match, ranking_of
from oiv5_d2.evaluation.overlaps import Indices, crowd_box_ious, mask_ious, pair_up
from oiv5_d2.evaluation.rankings import FALSE, IGNORED, RECALLS, TRUE, average_precision

FOREGROUND, BACKGROUND = 0.5, 0.1
KINDS = ("class", "place", "both", "duplicate", "background")
MISSED = "missed"
WORDS = {
    "class": "another class",
    "place": "misplaced",
    "both": "both",
    "duplicate": "found twice",
    "background": "background",
    MISSED: "missed",
}  # the kinds of errors, as people call them


@dataclass(frozen=True)
class Errors:
    """The state of each detection and object at an overlap of 0.5.

    Attributes:
        status: (N,) TRUE, FALSE or IGNORED.
        target: (N,) the object or crowd that was found, -1 for others.
        kind: (N,) index into `KINDS` of a false detection, -1 for others.
        about: (N,) the object that an error of class or place is about, -1 for others.
        missed: (M,) objects that were missed.
    """

    status: NDArray[np.int8]
    target: Indices
    kind: NDArray[np.int8]
    about: Indices
    missed: NDArray[np.bool_]


def find_errors(candidates: Candidates, task: str) -> Errors:
    """Return the kind of each false detection, and the objects that were missed."""
    truth, found = candidates.truth, candidates.found
    target = np.full(len(found), NONE, dtype=np.int64)
    target[candidates.special] = match(candidates, everything(truth))[:, 0]
    hit = np.where(truth.is_crowd[target], IGNORED, TRUE) if len(truth.image) else FALSE
    status = np.where(target == NONE, FALSE, hit).astype(np.int8)
    pairs, overlap = find_neighbours(candidates, task, status == FALSE)
    is_same = found.category[pairs[0]] == truth.category[pairs[1]]
    same, own = _best(len(found), pairs, np.where(is_same, overlap, 0.0))
    other, foreign = _best(len(found), pairs, np.where(is_same, 0.0, overlap))
    cases = [
        (same >= BACKGROUND) & (same < FOREGROUND),
        other >= FOREGROUND,
        same >= FOREGROUND,
        np.maximum(same, other) < BACKGROUND,
    ]
    order = [KINDS.index(name) for name in ("place", "class", "duplicate", "background")]
    kind = np.select(cases, order, default=KINDS.index("both"))
    kind = np.where(status == FALSE, kind, -1).astype(np.int8)
    about = np.full(len(found), NONE, dtype=np.int64)
    about[kind == KINDS.index("place")] = own[kind == KINDS.index("place")]
    about[kind == KINDS.index("class")] = foreign[kind == KINDS.index("class")]
    missed = ~truth.is_crowd
    missed[target[target != NONE]] = False
    missed[about[about != NONE]] = False
    return Errors(status, target, kind, about, missed)


def describe_errors(candidates: Candidates, errors: Errors) -> dict[str, dict[str, float]]:
    """Return the number of errors of each kind, and what fixing them all would add to AP50."""
    before = _mean_precision(candidates, errors, "")
    counts = {name: int((errors.kind == index).sum()) for index, name in enumerate(KINDS)}
    counts[MISSED] = int(errors.missed.sum())
    return {
        name: {"count": number, "AP50": _mean_precision(candidates, errors, name) - before}
        for name, number in counts.items()
    }


def find_found(
    candidates: Candidates, errors: Errors, thresholds: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which objects are found, (M,), by detections from their class's threshold on, (C,)."""
    found = candidates.found
    hits = (errors.status == TRUE) & (found.scores >= thresholds[found.category])
    is_found = np.zeros(len(candidates.truth.image), dtype=np.bool_)
    is_found[errors.target[hits]] = True
    return is_found


def find_neighbours(
    candidates: Candidates, task: str, chosen: NDArray[np.bool_]
) -> tuple[tuple[Indices, Indices], NDArray[np.float64]]:
    """Return pairs of chosen detections and objects of one image, of any class, and their IoU."""
    truth, found = candidates.truth, candidates.found
    lefts, rights = np.flatnonzero(chosen), np.flatnonzero(~truth.is_crowd)
    order = np.argsort(found.image[lefts], kind="stable")
    a, b = pair_up(found.image[lefts[order]].astype(np.int64), truth.image[rights].astype(np.int64))
    pairs = lefts[order][a], rights[b]
    if task == SEGM:
        return pairs, mask_ious(found.masks, truth.masks, pairs, truth.is_crowd)
    boxes = found.boxes[pairs[0]], truth.boxes[pairs[1]]
    return pairs, crowd_box_ious(*boxes, np.zeros(len(pairs[0]), dtype=np.bool_))


def _best(
    number: int, pairs: tuple[Indices, Indices], overlap: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Indices]:
    """Return the largest overlap of each detection, and with what."""
    best, place = np.zeros(number), np.full(number, NONE, dtype=np.int64)
    order = np.argsort(overlap, kind="stable")
    best[pairs[0][order]] = overlap[order]  # the last one written is the largest
    place[pairs[0][order]] = pairs[1][order]
    return best, place


def _mean_precision(candidates: Candidates, errors: Errors, fixed: str) -> float:
    """Return AP50 with the errors of one kind fixed, 0 to 100."""
    truth, found = candidates.truth, candidates.found
    status, category = errors.status.copy(), found.category.copy()
    positives = ~truth.is_crowd & ~(errors.missed if fixed == MISSED else np.False_)
    if fixed in KINDS:
        is_fixed = errors.kind == KINDS.index(fixed)
        status[is_fixed] = IGNORED
        status[_first_about(errors, is_fixed)] = TRUE
        moved = is_fixed & (errors.about != NONE)
        category[moved] = truth.category[errors.about[moved]]
    weights = np.ones((1, len(truth.images)))
    rankings = [
        ranking_of(truth, found, category == index, status, positives, index)
        for index in range(len(truth.categories))
    ]
    values = [average_precision(one, weights, RECALLS)[0, 0] for one in rankings]
    measured = [value for value in values if not np.isnan(value)]
    return 100 * float(np.mean(measured)) if measured else float("nan")


def _first_about(errors: Errors, is_fixed: NDArray[np.bool_]) -> Indices:
    """Return the best fixed detection about each object that no other detection has found."""
    rows = np.flatnonzero(is_fixed & (errors.about != NONE))
    objects, first = np.unique(errors.about[rows], return_index=True)
    return rows[first[~np.isin(objects, errors.target)]]
