"""All metrics of some detections, as one record of results."""

from collections.abc import Callable, Mapping, Sequence

from oiv5_d2.evaluation import coco, open_images
from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.detections import BBOX, SEGM, Detections
from oiv5_d2.evaluation.hierarchy import Above
from oiv5_d2.evaluation.intervals import RESAMPLES, draw, resampled, to_intervals
from oiv5_d2.evaluation.protocols import describe
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.results import COCO, OPEN_IMAGES, Metrics, Results, task_key

Metric = Callable[[Truth, Detections, str, Above], Metrics]

METRICS: dict[str, Metric] = {
    COCO: lambda truth, found, task, _: coco.evaluate(truth, found, task),
    OPEN_IMAGES: open_images.evaluate,
}


def find_tasks(truth: Truth, detections: Detections) -> tuple[str, ...]:
    """Return ``bbox`` and, if the truth has masks and all detections have one, ``segm``."""
    has_masks = truth.masks.present.any() and detections.masks.present.all()
    return (BBOX, SEGM) if has_masks else (BBOX,)


def judge(
    truth: Truth,
    detections: Detections,
    above: Above,
    tasks: Sequence[str],
    remarks: Sequence[str] = (),
    resamples: int = RESAMPLES,
    names: Mapping[str, str] | None = None,
) -> Results:
    """Return every metric of every task, with intervals.

    Args:
        truth: what is to be found.
        detections: what was found.
        above: which classes are above which.
        tasks: ``bbox``, ``segm``.
        remarks: sentences for the results.
        resamples: by which intervals are computed; 0 for none.
        names: display name of labels by MID.
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
            task_key(name, task): metric(truth, detections, task, above)
            for name, metric in METRICS.items()
            for task in tasks
        },
        protocols=describe(truth, detections),
        intervals=intervals,
        analysis=analyse(truth, detections, tasks[-1], names or {}),
        remarks=tuple(remarks),
    )
