"""The results of one evaluation: what they are called, and the file that holds them.

In memory a metric that cannot be computed is NaN, as in Detectron2. JSON has no NaN, so the file
has ``null`` and a note that says why.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.files import read_json, whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.metrics import COCO, METRICS, TASKS, Metric

RESULTS_JSON = "results.json"
PREDICTIONS_JSON = "coco_instances_results.json"
LABEL_ERRORS_CSV = "label_errors.csv"

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
        protocols: by the metric's key.
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


def write_results(path: Path, results: Results) -> None:
    """Write results as JSON, with ``null`` for NaN and the notes that explain it."""
    content = {
        "dataset": results.dataset,
        "sha256": results.sha256,
        "num_images": results.num_images,
        "num_instances": results.num_instances,
        **{metric.key: _metric_content(results, metric) for metric in METRICS},
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


def _metric_content(results: Results, metric: Metric) -> dict[str, Any]:
    """Return the part of the file that one metric has."""
    keys = {task: metric.task(task) for task in TASKS}
    keys = {task: key for task, key in keys.items() if key in results.tasks}
    protocol = results.protocols.get(metric.key)
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
    found = {m: content.get(m.key, content if m is COCO else {}) for m in METRICS}
    pairs = [(metric, task) for metric in METRICS for task in TASKS]
    return Results(
        dataset=content["dataset"],
        sha256=content["sha256"],
        num_images=content["num_images"],
        num_instances=content["num_instances"],
        tasks={m.task(t): _with_nan(found[m][t]) for m, t in pairs if t in found[m]},
        protocols={
            metric.key: Protocol(one["protocol"], tuple(one["deviations"]))
            for metric, one in found.items()
            if "protocol" in one
        },
        intervals={
            metric.task(task): {name: _interval(pair) for name, pair in spans.items()}
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
