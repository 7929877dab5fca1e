"""Why a model fails at one task: thresholds, curves, calibration, errors, confusion, slices."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.confusion import describe_confusion
from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.errors import Errors, describe_errors, find_errors, find_found
from oiv5_d2.evaluation.matching import Candidates, everything, find_candidates, rank
from oiv5_d2.evaluation.rankings import RECALLS, average_precision
from oiv5_d2.evaluation.slices import slices
from oiv5_d2.evaluation.thresholds import describe_classes
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.thresholds import choose_thresholds


def analyse(
    truth: Truth, detections: Detections, task: str, names: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `results.json` has under ``analysis``.

    Args:
        truth: what is to be found.
        detections: what was found.
        task: ``segm`` or ``bbox``.
        names: display name of labels by MID.
    """
    candidates = find_candidates(truth, detections, task)
    errors = find_errors(candidates, task)
    classes = describe_classes(rank(candidates, everything(truth)), truth.classes)
    thresholds = np.array(list(choose_thresholds({"classes": classes}, truth.classes).values()))
    return {
        "task": task,
        "classes": classes,
        "errors": describe_errors(candidates, errors),
        "confusion": describe_confusion(candidates, errors, task, thresholds),
        "slices": _describe_slices(candidates, errors, thresholds, names),
    }


def _describe_slices(
    candidates: Candidates,
    errors: Errors,
    thresholds: NDArray[np.float64],
    names: Mapping[str, str],
) -> dict[str, dict[str, float]]:
    """Return each slice's objects, AP, AP50, and recall from the thresholds on, all 0 to 100."""
    truth = candidates.truth
    is_found = find_found(candidates, errors, thresholds)
    weights, described = np.ones((1, len(truth.images))), {}
    for name, view in slices(truth, names).items():
        found = [average_precision(one, weights, RECALLS)[:, 0] for one in rank(candidates, view)]
        values = 100 * np.mean([one for one in found if not np.isnan(one[0])], axis=0)
        objects = view.objects & ~truth.is_crowd
        described[name] = {
            "objects": int(objects.sum()),
            "AP": float(values.mean()),
            "AP50": float(values[0]),
            "recall": 100 * float(is_found[objects].mean()),
        }
    return described
