"""Results by class and slice as W&B's tables and numbers, with intervals where there are some."""

import math
from collections.abc import Mapping
from typing import Any

from oiv5_d2.runs.metrics import METRICS, TASKS
from oiv5_d2.runs.results import Results

LOW, HIGH = "low", "high"  # ends of an interval of 95 %
OF_A_SLICE = ("objects", "AP", "AP50", "recall")  # in the table; the charts have AP and recall


def tabulate_classes(results: Results) -> Any:
    """Return W&B's table, a row a class: objects to find, and each metric of each task."""
    import wandb

    columns: list[str] = []
    rows: dict[str, list[Any]] = {
        name: [name, count] for name, count in results.num_instances.items()
    }
    for metric in METRICS:
        for key in (metric.task(task) for task in TASKS):
            for name in metric.per_class if key in results.tasks else ():
                columns += _add_metric(rows, results, key, name)
    return wandb.Table(columns=["class", "objects", *columns], data=list(rows.values()))


def spans(results: Results) -> dict[str, float]:
    """Return the ends of all intervals, such as ``interval/segm/AP/low``, but of classes."""
    return {
        f"interval/{task}/{name}/{end}": value
        for task, found in results.intervals.items()
        for name, pair in found.items()
        if "-" not in name
        for end, value in zip((LOW, HIGH), pair, strict=True)
    }


def tabulate_slices(results: Results) -> Any | None:
    """Return W&B's table, a row a slice of the objects; None if the results have none."""
    import wandb

    table = wandb.Table(columns=["slice", *OF_A_SLICE])
    for name, found in results.analysis.get("slices", {}).items():
        table.add_data(name, *(found[one] for one in OF_A_SLICE))
    return table if table.data else None


def slice_numbers(results: Results) -> dict[str, float]:
    """Return AP and recall of each slice of the objects, such as ``slice/AP/occluded``."""
    return {
        f"slice/{what}/{name}": found[what]
        for name, found in results.analysis.get("slices", {}).items()
        for what in ("AP", "recall")
    }


def _add_metric(
    rows: Mapping[str, list[Any]], results: Results, key: str, metric: str
) -> list[str]:
    """Add a metric of all classes to their rows; return the columns' names."""
    values, intervals = results.tasks[key], results.intervals.get(key, {})
    names = {name: f"{metric}-{name}" for name in rows}
    if not any(name in values for name in names.values()):
        return []
    has_spans = any(name in intervals for name in names.values())
    for row, name in ((rows[label], name) for label, name in names.items()):
        pair = intervals.get(name, (math.nan, math.nan)) if has_spans else ()
        row.extend(_or_none(value) for value in (values.get(name, math.nan), *pair))
    ends = [f"{key}/{metric} {end}" for end in (LOW, HIGH)] if has_spans else []
    return [f"{key}/{metric}", *ends]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
