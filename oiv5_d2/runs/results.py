"""The results of one evaluation: what they are called, and the file that holds them.

In memory a metric that cannot be computed is NaN, as in Detectron2. JSON has no NaN, so the file
has ``null`` and a note that says why.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.files import read_json, whole_file
from oiv5_d2.keys import near
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")  # COCO's summary, in its order
PER_CLASS = METRICS[:2]  # of these, what each class has as well, such as AP50-Car
# Averages of a run's weights, as their results are called: ema/segm/AP.
EMA, MEAN = "ema", "averaged"  # the moving average; the mean of the last checkpoints
AVERAGES = (EMA, MEAN)
COCO, OPEN_IMAGES = "coco", "open_images"
SUMMARIES = {COCO: METRICS, OPEN_IMAGES: ("AP50",)}  # by metric; Open Images has no others
BOX_AND_MASK = ("bbox", "segm")
TEST = "test"  # the best weights, on the data set that is for the end
VALIDATION, TOTAL_LOSS = "validation", "total_loss"  # losses on the images that are evaluated
RESULTS_JSON = "results.json"
PREDICTIONS_JSON = "coco_instances_results.json"

Metrics = dict[str, float]  # "AP", "AP50", "AP-Person": 0 to 100, or NaN
Interval = tuple[float, float]  # of 95 %


class Protocol(NamedTuple):
    """How the numbers of a metric come about, in words.

    Attributes:
        protocol: what is measured, and after whom.
        deviations: where that departs from the official one.
    """

    protocol: str
    deviations: tuple[str, ...] = ()


class Results(NamedTuple):
    """One model, evaluated on one data set.

    Attributes:
        dataset: the registered name, such as ``mini_validation``.
        sha256: of its COCO file.
        num_images: images in the data set.
        num_instances: objects to find per class, in class order; ignored regions not counted.
        tasks: ``bbox`` and, for a model with masks, ``segm``: COCO's metrics from 0 to 100, NaN
            where there is nothing to measure; ``open_images/bbox`` ...: the Open Images ones.
        protocols: by metric, ``coco`` and ``open_images``.
        intervals: of the same names as the tasks; empty if none were computed.
        remarks: sentences about what was evaluated.
        analysis: why: thresholds and curves by class, kinds of errors, slices; as JSON has it.
    """

    dataset: str
    sha256: str
    num_images: int
    num_instances: dict[str, int]
    tasks: dict[str, Metrics]
    protocols: dict[str, Protocol] = {}  # noqa: RUF012  never changed
    intervals: dict[str, dict[str, Interval]] = {}  # noqa: RUF012
    remarks: tuple[str, ...] = ()
    analysis: dict[str, Any] = {}  # noqa: RUF012


def task_key(metric: str, task: str) -> str:
    """Return the name of a task in `Results.tasks`: COCO's are plain."""
    return task if metric == COCO else f"{metric}/{task}"


def describe_gaps(results: Results) -> list[str]:
    """Return one sentence for each thing that could not be measured, so that no mean misleads."""
    absent = [name for name, count in results.num_instances.items() if not count]
    if not absent:
        return list(results.remarks)
    measured = len(results.num_instances) - len(absent)
    return [
        f"{', '.join(absent)}: no object to find in {results.dataset}, so no AP (null); "
        f"the means are over the other {measured} of {len(results.num_instances)} classes",
        *results.remarks,
    ]


def check_metric(
    name: str,
    classes: Sequence[str],
    has_masks: bool,
    averages: Sequence[str] = (),
    has_losses: bool = False,
) -> str:
    """Return the metric that a run compares; without masks ``segm/AP`` is ``bbox/AP``.

    Args:
        name: ``<task>/<name>``, such as ``segm/AP`` or ``bbox/AP50-Car``; of averaged weights
            ``ema/segm/AP``; the validation loss is ``validation/total_loss``.
        classes: display names.
        has_masks: False for a model of boxes only.
        averages: of weights, those of `AVERAGES` that each evaluation has.
        has_losses: True if each evaluation has the validation loss.

    Raises:
        Problem: SETTING, no evaluation of these classes has that name.
    """
    plain = [
        f"{task_key(metric, task)}/{one}"
        for metric, summary in SUMMARIES.items()
        for task in BOX_AND_MASK
        for one in (*summary, *(f"{m}-{c}" for m in PER_CLASS if m in summary for c in classes))
    ]
    names = [*plain, *(f"{average}/{one}" for average in averages for one in plain)]
    names += [f"{VALIDATION}/{TOTAL_LOSS}"] if has_losses else []
    if name not in names:
        raise wrong_setting("metric", name, f"no such metric{near(name, names)}")
    return name if has_masks else re.sub(r"\bsegm/", "bbox/", name)


def is_loss(metric: str) -> bool:
    """Return True if a lower value of a metric is the better one."""
    return metric.startswith(f"{VALIDATION}/")


def look_up(results: Mapping[str, Any], name: str) -> float:
    """Return one number of a run's results by ``<task>/<name>``; NaN if it was not measured.

    Args:
        results: ``{"bbox": {...}, ...}``, or one such dict per data set: then of the first one.
            Each average of the weights has the same below its name.
        name: as `check_metric` returned it.
    """
    head, _, rest = name.partition("/")
    if head in AVERAGES:
        return look_up(results.get(head, {}), rest)
    task, _, measure = name.rpartition("/")
    tasks = results if task in results else next(iter(results.values()), {})
    return float(tasks.get(task, {}).get(measure, math.nan))


def write_results(path: Path, results: Results) -> None:
    """Write results as JSON, with ``null`` for NaN and the notes that explain it."""
    content = {
        "dataset": results.dataset,
        "sha256": results.sha256,
        "num_images": results.num_images,
        "num_instances": results.num_instances,
        **{metric: _metric_content(results, metric) for metric in SUMMARIES},
        "analysis": _plain(results.analysis),
        "remarks": results.remarks,
        "notes": describe_gaps(results),
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote, or an earlier version; ``null`` becomes NaN again.

    Raises:
        Problem: DAMAGED, the file is not JSON or a key is missing.
    """
    content = read_json(path, Remedy.EVALUATE)
    try:
        return _from_content(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"not a results file: {error}"
        raise Problem(Kind.DAMAGED, path, detail, remedy=Remedy.EVALUATE) from error


def _metric_content(results: Results, metric: str) -> dict[str, Any]:
    """Return the part of the file that one metric has."""
    keys = {task: task_key(metric, task) for task in BOX_AND_MASK}
    keys = {task: key for task, key in keys.items() if key in results.tasks}
    protocol = results.protocols.get(metric)
    intervals = {t: results.intervals[k] for t, k in keys.items() if k in results.intervals}
    return {
        **(protocol._asdict() if protocol else {}),
        **{task: _without_nan(results.tasks[key]) for task, key in keys.items()},
        **(
            {"intervals": {t: _spans(found) for t, found in intervals.items()}} if intervals else {}
        ),
    }


def _from_content(content: Mapping[str, Any]) -> Results:
    # Before there were two metrics, COCO's tasks stood by themselves.
    found = {m: content.get(m, content if m == COCO else {}) for m in SUMMARIES}
    pairs = [(metric, task) for metric in SUMMARIES for task in BOX_AND_MASK]
    return Results(
        dataset=content["dataset"],
        sha256=content["sha256"],
        num_images=content["num_images"],
        num_instances=content["num_instances"],
        tasks={task_key(m, t): _with_nan(found[m][t]) for m, t in pairs if t in found[m]},
        protocols={
            metric: Protocol(one["protocol"], tuple(one["deviations"]))
            for metric, one in found.items()
            if "protocol" in one
        },
        intervals={
            task_key(metric, task): {name: _interval(pair) for name, pair in spans.items()}
            for metric, one in found.items()
            for task, spans in one.get("intervals", {}).items()
        },
        remarks=tuple(content.get("remarks", ())),
        analysis=content.get("analysis", {}),
    )


def _plain(value: Any) -> Any:
    """Return nested dicts and lists with None for NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _spans(intervals: Mapping[str, Interval]) -> dict[str, list[float] | None]:
    return {name: None if math.isnan(pair[0]) else list(pair) for name, pair in intervals.items()}


def _interval(pair: Sequence[float] | None) -> Interval:
    return (math.nan, math.nan) if pair is None else (float(pair[0]), float(pair[1]))


def _without_nan(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _with_nan(metrics: Mapping[str, Any]) -> Metrics:
    return {name: math.nan if value is None else float(value) for name, value in metrics.items()}
