"""Results as tables of text, and tables as Markdown."""

import math
from collections.abc import Sequence

from oiv5_d2.runs.results import METRICS, OPEN_IMAGES, PER_CLASS, SUMMARIES, Results, task_key
from oiv5_d2.table import Table

TASKS = {"segm": "segm", "bbox": "box"}  # name in the results: name for people


def ap_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per data set: all of COCO's mask metrics, box AP, Open Images' metric.

    For a model without masks the box metrics take their place.
    """
    main, *others = _tasks(evaluations)
    keys = [*((main, metric) for metric in METRICS), *((task, "AP") for task in others)]
    headers = [metric if metric != "AP" else f"{TASKS[task]} AP" for task, metric in keys]
    official = task_key(OPEN_IMAGES, main)
    if any(official in one.tasks for one in evaluations):
        keys += [(official, metric) for metric in SUMMARIES[OPEN_IMAGES]]
        headers += [f"OI {metric}" for metric in SUMMARIES[OPEN_IMAGES]]
    rows = [
        (one.dataset, f"{one.num_images:,}", *(_score(one, task, name) for task, name in keys))
        for one in evaluations
    ]
    return Table("Average precision", ("data", "images", *headers), rows)


def class_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per class and data set: number of objects, AP and AP50 of masks and boxes.

    Open Images' metric comes last.
    """
    tasks = _tasks(evaluations)
    keys = [(task, metric) for task in tasks for metric in PER_CLASS]
    columns = [f"{TASKS[task]} {metric}" for task, metric in keys]
    official = task_key(OPEN_IMAGES, tasks[0])
    if any(official in one.tasks for one in evaluations):
        keys += [(official, metric) for metric in SUMMARIES[OPEN_IMAGES]]
        columns += [f"OI {metric}" for metric in SUMMARIES[OPEN_IMAGES]]
    rows = [
        (one.dataset, name, f"{count:,}", *(_score(one, t, f"{m}-{name}") for t, m in keys))
        for one in evaluations
        for name, count in one.num_instances.items()
    ]
    headers = ("data", "class", "instances", *columns)
    return Table("Average precision per class", headers, rows, num_names=2)


def score(value: float | None) -> str:
    """Return a metric with one decimal; a dash where there is nothing to measure."""
    return "-" if value is None or math.isnan(value) else f"{value:.1f}"


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, without a line end."""
    rules = ["---" if table.is_text(i) else "---:" for i in range(len(table.columns))]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (table.columns, rules, *rows))


def _tasks(evaluations: Sequence[Results]) -> list[str]:
    """Return the tasks that were evaluated, the main one first."""
    return [task for task in TASKS if any(task in one.tasks for one in evaluations)] or ["segm"]


def _score(results: Results, task: str, metric: str) -> str:
    return score(results.tasks.get(task, {}).get(metric))
