"""Likely errors of the annotation: where a model is sure and the truth says something else.

A suspect is a detection from its class's threshold on where no object is, or one of another class,
or an object that nothing found at any score. They are ranked by how often the model is right in
such a case: a detection by the precision of all that are as sure, an object by the share of the
objects of its class and size that are found. Classes that nobody verified on an image give none:
that their objects are not annotated is no error.
"""

import csv
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.diagnosis import Diagnosis
from oiv5_d2.evaluation.errors import KINDS, Errors
from oiv5_d2.evaluation.matching import NONE, Candidates
from oiv5_d2.evaluation.rankings import IGNORED, TRUE
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.files import whole_file

NOTHING, OTHER_CLASS = ("background", "both"), ("class",)  # kinds of errors
SIZES = (32.0**2, 96.0**2)  # square pixels, as COCO divides small, medium and large
COLUMNS = (
    "rank",
    "image_id",
    "file_name",
    "class",
    "reason",
    "certainty",
    "score",
    *("x", "y", "width", "height"),
    "annotation_id",
    "annotated_class",
)


class Reason(StrEnum):
    """Why the annotation is doubted."""

    NOTHING = "nothing is annotated"
    OTHER_CLASS = "another class is annotated"
    NEVER_FOUND = "annotated but never found"


class Suspect(NamedTuple):
    """One place where the annotation may be wrong.

    Attributes:
        image: index in the truth.
        category: index of the class that was found, or that was annotated and not found.
        reason: why.
        certainty: how often the model is right in such a case, 0 to 1.
        score: of the detection; None for an object that was never found.
        box: xywh in pixels.
        annotation: index of the object that it is about; None for nothing.
    """

    image: int
    category: int
    reason: Reason
    certainty: float
    score: float | None
    box: tuple[float, ...]
    annotation: int | None


def find_suspects(diagnosis: Diagnosis) -> list[Suspect]:
    """Return the likely label errors, the likeliest first.

    Args:
        diagnosis: of what a model found.
    """
    suspects = [*_false_detections(diagnosis), *_never_found(diagnosis)]
    return sorted(suspects, key=lambda one: (-one.certainty, -(one.score or 0.0)))


def write_suspects(path: Path, suspects: Sequence[Suspect], truth: Truth) -> None:
    """Write the suspects as CSV, one a line in their order."""
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_row(number, one, truth) for number, one in enumerate(suspects, 1))


def _false_detections(diagnosis: Diagnosis) -> Iterator[Suspect]:
    """Yield the detections of nothing, and those of another class than a whole unfound object's."""
    _, candidates, errors, _, thresholds, is_found = diagnosis
    truth, found = candidates.truth, candidates.found
    precision = _precisions(candidates, errors)
    nothing, other = ([KINDS.index(name) for name in names] for names in (NOTHING, OTHER_CLASS))
    is_other = np.isin(errors.kind, other) & ~is_found[errors.about] if len(is_found) else False
    doubted = (np.isin(errors.kind, nothing) | is_other) & _is_verified(truth, found)
    doubted &= found.scores >= thresholds[found.category]
    for i in np.flatnonzero(doubted).tolist():
        about = int(errors.about[i])
        yield Suspect(
            image=int(found.image[i]),
            category=int(found.category[i]),
            reason=Reason.NOTHING if about == NONE else Reason.OTHER_CLASS,
            certainty=float(precision[i]),
            score=float(found.scores[i]),
            box=tuple(found.boxes[i].tolist()),
            annotation=None if about == NONE else about,
        )


def _never_found(diagnosis: Diagnosis) -> Iterator[Suspect]:
    """Yield the objects that were missed at every score."""
    truth = diagnosis.candidates.truth
    recall = _recalls(truth, diagnosis.is_found)
    for i in np.flatnonzero(diagnosis.errors.missed).tolist():
        yield Suspect(
            image=int(truth.image[i]),
            category=int(truth.category[i]),
            reason=Reason.NEVER_FOUND,
            certainty=float(recall[i]),
            score=None,
            box=tuple(truth.boxes[i].tolist()),
            annotation=i,
        )


def _precisions(candidates: Candidates, errors: Errors) -> NDArray[np.float64]:
    """Return of each detection the precision of those of its class that are as sure, (N,)."""
    found, precision = candidates.found, np.zeros(len(candidates.found))
    for category in range(len(candidates.truth.categories)):
        own = np.flatnonzero(found.category == category)  # ranked by score
        true = np.cumsum(errors.status[own] == TRUE)
        precision[own] = true / np.maximum(1, np.cumsum(errors.status[own] != IGNORED))
    return precision


def _recalls(truth: Truth, is_found: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return of each object the share of those of its class and size that are found, (M,)."""
    sizes = np.searchsorted(SIZES, truth.areas, side="right")
    groups = truth.category.astype(np.int64) * (len(SIZES) + 1) + sizes
    number, hits = (
        np.bincount(groups[chosen], minlength=groups.max(initial=0) + 1)
        for chosen in (~truth.is_crowd, is_found)
    )
    recalls: NDArray[np.float64] = (hits / np.maximum(1, number))[groups]
    return recalls


def _is_verified(truth: Truth, found: Detections) -> NDArray[np.bool_]:
    """Return whether people looked for each detection's class on its image, (N,)."""
    if truth.verified is None:
        return np.ones(len(found), dtype=np.bool_)
    is_verified: NDArray[np.bool_] = truth.verified[found.image, found.category] != 0
    return is_verified


def _row(number: int, one: Suspect, truth: Truth) -> tuple[object, ...]:
    image = truth.images[one.image]
    other = one.annotation
    return (
        number,
        image.get("open_images_id") or image["id"],
        image.get("file_name", ""),
        truth.classes[one.category],
        one.reason,
        f"{one.certainty:.4f}",
        "" if one.score is None else f"{one.score:.4f}",
        *(f"{side:.1f}" for side in one.box),
        "" if other is None else truth.records[other].get("id", ""),
        "" if other is None else truth.classes[truth.category[other]],
    )
