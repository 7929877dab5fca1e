"""The results of one evaluation: what they are called, and the file that holds them.

In memory a metric that cannot be computed is NaN, as in Detectron2. JSON has no NaN, so the file
has ``null`` and a note that says why.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.files import whole_file
from oiv5_d2.keys import near
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.prepared import read_json

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")  # COCO's summary, in its order
PER_CLASS = METRICS[:2]  # of these, what each class has as well, such as AP50-Car
# Averages of a run's weights, as their results are called: ema/segm/AP.
EMA, MEAN = "ema", "averaged"  # the moving average; the mean of the last checkpoints
AVERAGES = (EMA, MEAN)
RESULTS_JSON = "results.json"
PREDICTIONS_JSON = "coco_instances_results.json"

Metrics = dict[str, float]  # "AP", "AP50", "AP-Person": 0 to 100, or NaN


class Results(NamedTuple):
    """One model, evaluated on one data set.

    Attributes:
        dataset: the registered name, such as ``mini_validation``.
        sha256: of its COCO file.
        num_images: images in the data set.
        num_instances: objects to find per class, in class order; ignored regions not counted.
        tasks: ``bbox`` and, for a model with masks, ``segm``: metrics from 0 to 100, NaN where
            there is nothing to measure.
    """

    dataset: str
    sha256: str
    num_images: int
    num_instances: dict[str, int]
    tasks: dict[str, Metrics]


def describe_gaps(results: Results) -> list[str]:
    """Return one sentence for each thing that could not be measured, so that no mean misleads."""
    absent = [name for name, count in results.num_instances.items() if not count]
    if not absent:
        return []
    measured = len(results.num_instances) - len(absent)
    return [
        f"{', '.join(absent)}: no object to find in {results.dataset}, so no AP (null); "
        f"the means are over the other {measured} of {len(results.num_instances)} classes"
    ]


def check_metric(
    name: str, classes: Sequence[str], has_masks: bool, averages: Sequence[str] = ()
) -> str:
    """Return the metric that a run compares; without masks ``segm/AP`` is ``bbox/AP``.

    Args:
        name: ``<task>/<name>``, such as ``segm/AP`` or ``bbox/AP50-Car``; of averaged weights
            ``ema/segm/AP``.
        classes: display names.
        has_masks: False for a model of boxes only.
        averages: of weights, those of `AVERAGES` that the run has.

    Raises:
        Problem: SETTING, no evaluation of these classes has that name.
    """
    per_class = [f"{average}-{one}" for average in PER_CLASS for one in classes]
    plain = [f"{task}/{one}" for task in ("bbox", "segm") for one in (*METRICS, *per_class)]
    names = [*plain, *(f"{average}/{one}" for average in averages for one in plain)]
    if name not in names:
        raise wrong_setting("metric", name, f"no such metric{near(name, names)}")
    return name if has_masks else name.replace("segm/", "bbox/", 1)


def look_up(results: Mapping[str, Any], name: str) -> float:
    """Return one number of a run's results by ``<task>/<name>``; NaN if it was not measured.

    Args:
        results: ``{"bbox": {...}, ...}``, or one such dict per data set: then of the first one.
            Each average of the weights has the same below its name.
        name: as `check_metric` returned it.
    """
    task, _, measure = name.partition("/")
    if task in AVERAGES:
        return look_up(results.get(task, {}), measure)
    tasks = results if task in results else next(iter(results.values()), {})
    return float(tasks.get(task, {}).get(measure, math.nan))


def write_results(path: Path, results: Results) -> None:
    """Write results as JSON, with ``null`` for NaN and the notes that explain it."""
    content = {
        "dataset": results.dataset,
        "sha256": results.sha256,
        "num_images": results.num_images,
        "num_instances": results.num_instances,
        **{task: _without_nan(metrics) for task, metrics in results.tasks.items()},
        "notes": describe_gaps(results),
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote; ``null`` becomes NaN again.

    Raises:
        Problem: DAMAGED, the file is not JSON or a key is missing.
    """
    content = read_json(path, Remedy.EVALUATE)
    try:
        return Results(
            dataset=content["dataset"],
            sha256=content["sha256"],
            num_images=content["num_images"],
            num_instances=content["num_instances"],
            tasks={task: _with_nan(content[task]) for task in ("bbox", "segm") if task in content},
        )
    except (KeyError, TypeError, ValueError) as error:
        detail = f"not a results file: {error}"
        raise Problem(Kind.DAMAGED, path, detail, remedy=Remedy.EVALUATE) from error


def _without_nan(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _with_nan(metrics: Mapping[str, Any]) -> Metrics:
    return {name: math.nan if value is None else float(value) for name, value in metrics.items()}
