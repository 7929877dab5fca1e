"""All metrics of some detections, as one record of results."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from oiv5_d2.evaluation.detections import BBOX, SEGM, Detections
from oiv5_d2.evaluation.hierarchy import Above
from oiv5_d2.evaluation.intervals import RESAMPLES, draw, to_intervals
from oiv5_d2.evaluation.rankings import Values, Weights
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs import results
from oiv5_d2.runs.metrics import METRICS, Metric
from oiv5_d2.runs.results import Metrics, Results


class Scorer(Protocol):
    """What the module of a metric has; tasks are ``bbox`` and ``segm``, numbers 0 to 100 or NaN."""

    def evaluate(self, truth: Truth, found: Detections, task: str, above: Above, /) -> Metrics:
        """Return the metric's numbers, of the names that `runs.metrics` has."""

    def resampled(
        self, truth: Truth, found: Detections, task: str, above: Above, weights: Weights, /
    ) -> Values:
        """Return the same with every image weighted as often as it was drawn, (B, I)."""

    def describe(self, truth: Truth, /) -> results.Protocol:
        """Return what is measured, in words, and where that departs from the official metric."""


def scorer_of(metric: Metric) -> Scorer:
    """Return what computes a metric: the module of this package that is called like its key."""
    return cast(Scorer, import_module(f"{__package__}.{metric.key}"))


def resampled(
    truth: Truth, detections: Detections, above: Above, tasks: Sequence[str], weights: Weights
) -> dict[str, Values]:
    """Return all metrics by task, named as in `Results.tasks`, on each resample."""
    return {
        metric.task(task): scorer_of(metric).resampled(truth, detections, task, above, weights)
        for task in tasks
        for metric in METRICS
    }


def find_tasks(truth: Truth, detections: Detections) -> tuple[str, ...]:
    """Return ``bbox`` and, if the truth has masks and all detections have one, ``segm``."""
    has_masks = truth.masks.present.any() and detections.masks.present.all()
    return (BBOX, SEGM) if has_masks else (BBOX,)


def score(
    truth: Truth,
    detections: Detections,
    above: Above,
    tasks: Sequence[str],
    analysis: dict[str, Any],
    remarks: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> Results:
    """Return every metric of every task, with intervals.

    Args:
        truth: what is to be found.
        detections: what was found.
        above: which classes are above which.
        tasks: ``bbox``, ``segm``.
        analysis: why the model fails, as `analyse` returns it.
        remarks: sentences for the results.
        resamples: by which intervals are computed; 0 for none.
    """
    intervals = {}
    if resamples:
        weights = draw(len(truth.images), resamples)
        intervals = to_intervals(resampled(truth, detections, above, tasks, weights))
    return Results(
        dataset=truth.name,
        sha256=truth.sha256,
        num_images=len(truth.images),
        num_instances=truth.num_instances,
        tasks={
            metric.task(task): scorer_of(metric).evaluate(truth, detections, task, above)
            for metric in METRICS
            for task in tasks
        },
        protocols={metric.key: scorer_of(metric).describe(truth) for metric in METRICS},
        intervals=intervals,
        analysis=analysis,
        remarks=tuple(remarks),
    )
