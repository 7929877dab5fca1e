"""Why a model fails: thresholds, curves, calibration, kinds of errors and slices of one task."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.errors import describe_errors, find_errors
from oiv5_d2.evaluation.matching import View, find_candidates, rank
from oiv5_d2.evaluation.rankings import RECALLS, average_precision
from oiv5_d2.evaluation.slices import slices
from oiv5_d2.evaluation.thresholds import describe_classes
from oiv5_d2.evaluation.truth import Truth


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
    every = View(np.ones(len(truth.image), dtype=np.bool_))
    weights = np.ones((1, len(truth.images)))
    sliced = {}
    for name, view in slices(truth, names).items():
        found = [average_precision(one, weights, RECALLS)[:, 0] for one in rank(candidates, view)]
        measured = [one for one in found if not np.isnan(one[0])]
        values = 100 * np.mean(measured, axis=0)
        number = int((view.objects & ~truth.is_crowd).sum())
        sliced[name] = {"objects": number, "AP": float(values.mean()), "AP50": float(values[0])}
    return {
        "task": task,
        "classes": describe_classes(rank(candidates, every), truth.classes),
        "errors": describe_errors(candidates, find_errors(candidates, task)),
        "slices": sliced,
    }
