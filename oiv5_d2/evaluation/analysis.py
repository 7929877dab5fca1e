"""Why a model fails at one task: thresholds, curves, calibration, errors, confusion, slices."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.confusion import describe_confusion
from oiv5_d2.evaluation.diagnosis import Diagnosis
from oiv5_d2.evaluation.errors import describe_errors
from oiv5_d2.evaluation.matching import Candidates, rank
from oiv5_d2.evaluation.rankings import RECALLS, average_precision
from oiv5_d2.evaluation.slices import slices


def analyse(diagnosis: Diagnosis, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what `results.json` has under ``analysis``.

    Args:
        diagnosis: of the model's detections.
        names: display name of labels by MID.
    """
    task, candidates, errors = diagnosis.task, diagnosis.candidates, diagnosis.errors
    return {
        "task": task,
        "classes": diagnosis.classes,
        "errors": describe_errors(candidates, errors),
        "confusion": describe_confusion(candidates, errors, task, diagnosis.thresholds),
        "slices": _describe_slices(candidates, diagnosis.is_found, names),
    }


def _describe_slices(
    candidates: Candidates, is_found: NDArray[np.bool_], names: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Return each slice's objects, AP, AP50, and recall from the thresholds on, all 0 to 100."""
    truth = candidates.truth
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
