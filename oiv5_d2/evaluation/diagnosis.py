"""What of a model's detections is right and wrong at one task: the ground of all explanations."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.errors import Errors, find_errors, find_found
from oiv5_d2.evaluation.matching import Candidates, everything, find_candidates, rank
from oiv5_d2.evaluation.thresholds import describe_classes
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.thresholds import choose_thresholds


class Diagnosis(NamedTuple):
    """Detections compared with the truth.

    Attributes:
        task: ``segm`` or ``bbox``.
        candidates: which of them may be which object.
        errors: what is true and false of them.
        classes: curves and calibration by class, as `results.json` has them.
        thresholds: (K,), the score from which on a class's detections count.
        is_found: (M,) bool, the objects that are found from there on.
    """

    task: str
    candidates: Candidates
    errors: Errors
    classes: dict[str, Any]
    thresholds: NDArray[np.float64]
    is_found: NDArray[np.bool_]


def diagnose(truth: Truth, detections: Detections, task: str) -> Diagnosis:
    """Compare detections with the truth.

    Args:
        truth: what is to be found.
        detections: what was found.
        task: ``segm`` or ``bbox``.
    """
    candidates = find_candidates(truth, detections, task)
    errors = find_errors(candidates, task)
    classes = describe_classes(rank(candidates, everything(truth)), truth.classes)
    thresholds = np.array(list(choose_thresholds({"classes": classes}, truth.classes).values()))
    is_found = find_found(candidates, errors, thresholds)
    return Diagnosis(task, candidates, errors, classes, thresholds, is_found)
