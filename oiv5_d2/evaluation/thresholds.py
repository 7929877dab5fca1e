"""From which score on to believe a class's detections, and whether scores mean what they say.

Precision, recall and F1 at an overlap of 0.5; the threshold is where F1 is best. Calibration is
the share of true detections beside the mean score, in ten bins (Naeini et al., 2015).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.rankings import IGNORED, RECALLS, TRUE, Ranking, precision_recall

NUM_BINS = 10
NUM_POINTS = 101  # of a curve


def describe_classes(rankings: Sequence[Ranking], classes: Sequence[str]) -> dict[str, Any]:
    """Return threshold, curves and calibration by class, for classes with something to find.

    Args:
        rankings: of the classes, of which the first overlap is 0.5.
        classes: their names.
    """
    return {
        name: {**describe_curve(ranking), **describe_calibration(ranking)}
        for name, ranking in zip(classes, rankings, strict=True)
        if ranking.num_positives
    }


def describe_curve(ranking: Ranking) -> dict[str, Any]:
    """Return the best threshold, and precision, recall and F1 at scores from 0 to 1."""
    scores, precision, recall = precision_recall(ranking, 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(np.argmax(f1)) if len(f1) else -1
    at = np.linspace(0, 1, NUM_POINTS)
    last = len(scores) - np.searchsorted(scores[::-1], at, side="left") - 1
    curves = {"precision": precision, "recall": recall, "f1": f1}
    at_best = {name: float(values[best]) if best >= 0 else 0.0 for name, values in curves.items()}
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(recall, RECALLS)
    return {
        "threshold": float(scores[best]) if best >= 0 else None,
        "best_f1": at_best["f1"],
        "precision": at_best["precision"],
        "recall": at_best["recall"],
        "precision_at_recall": [round(float(one), 4) for one in np.append(envelope, 0.0)[reached]],
        "curves": {
            "score": [round(float(one), 2) for one in at],
            **{name: _read(values, last) for name, values in curves.items()},
        },
    }


def describe_calibration(ranking: Ranking) -> dict[str, Any]:
    """Return the expected calibration error, and count, mean score and precision of each bin."""
    status = np.zeros(len(ranking.scores), dtype=np.int8)
    status[ranking.special] = ranking.status[:, 0]
    counted = status != IGNORED
    scores, hits = ranking.scores[counted], status[counted] == TRUE
    bins = np.clip((scores * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    number = np.bincount(bins, minlength=NUM_BINS)
    mean, precision = (
        np.bincount(bins, weights=values, minlength=NUM_BINS) / np.maximum(number, 1)
        for values in (scores, hits)
    )
    error = float((number * np.abs(mean - precision)).sum() / max(1, number.sum()))
    rows = zip(number.tolist(), mean.tolist(), precision.tolist(), strict=True)
    return {"ece": error, "bins": [list(row) for row in rows]}


def _read(values: NDArray[np.float64], last: NDArray[np.int64]) -> list[float | None]:
    """Return the values at the last detection of each score and above; None before the first."""
    return [round(float(values[i]), 4) if i >= 0 else None for i in last]
