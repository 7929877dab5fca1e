"""Results as tables of text, and tables as Markdown."""

import math
from collections.abc import Collection, Sequence

from oiv5_d2.runs.results import METRICS, OPEN_IMAGES, PER_CLASS, SUMMARIES, Results, task_key
from oiv5_d2.table import Table

TASKS = {"segm": "segm", "bbox": "box"}  # name in the results: name for people

Key = tuple[str, str]  # task and metric
Column = tuple[str, Key]  # with its header


def ap_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per data set: all of COCO's mask metrics, box AP, Open Images' metric.

    For a model without masks the box metrics take their place. Beside the first and the last one
    are their intervals.
    """
    main, *others = _tasks(evaluations)
    keys = [*((main, metric) for metric in METRICS), *((task, "AP") for task in others)]
    headers = [metric if metric != "AP" else f"{TASKS[task]} AP" for task, metric in keys]
    columns = [*zip(headers, keys, strict=True), *_official(evaluations, main)]
    with_interval = {(main, "AP"), (task_key(OPEN_IMAGES, main), "AP50")}
    cells = [
        [(one.dataset, f"{one.num_images:,}"), *_numbers(one, columns, with_interval)]
        for one in evaluations
    ]
    rows = [tuple(cell for group in row for cell in group) for row in cells]
    names = [name for column in columns for name in _headers(evaluations, *column, with_interval)]
    return Table("Average precision", ("data", "images", *names), rows)


def class_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per class and data set: number of objects, AP and AP50 of masks and boxes.

    Open Images' metric comes last. Beside the first and the last one are their intervals.
    """
    tasks = _tasks(evaluations)
    keys = [(task, metric) for task in tasks for metric in PER_CLASS]
    columns = [(f"{TASKS[task]} {metric}", (task, metric)) for task, metric in keys]
    columns += _official(evaluations, tasks[0])
    with_interval = {(tasks[0], "AP"), (task_key(OPEN_IMAGES, tasks[0]), "AP50")}
    rows = []
    for one in evaluations:
        for name, count in one.num_instances.items():
            found = _numbers(one, columns, with_interval, f"-{name}")
            cells = [cell for group in found for cell in group]
            rows.append((one.dataset, name, f"{count:,}", *cells))
    names = [name for column in columns for name in _headers(evaluations, *column, with_interval)]
    headers = ("data", "class", "instances", *names)
    return Table("Average precision per class", headers, rows, num_names=2)


def _official(evaluations: Sequence[Results], task: str) -> list[Column]:
    """Return the columns of Open Images' metric, if there is one."""
    key = task_key(OPEN_IMAGES, task)
    if not any(key in one.tasks for one in evaluations):
        return []
    return [(f"OI {metric}", (key, metric)) for metric in SUMMARIES[OPEN_IMAGES]]


def _headers(
    evaluations: Sequence[Results], name: str, key: Key, with_interval: Collection[Key]
) -> list[str]:
    has_one = key in with_interval and any(one.intervals for one in evaluations)
    return [name, "95 %"] if has_one else [name]


def _numbers(
    one: Results, columns: Sequence[Column], with_interval: Collection[Key], ending: str = ""
) -> list[tuple[str, ...]]:
    """Return each column's number, with its interval if it has one."""
    cells: list[tuple[str, ...]] = []
    for _, (task, metric) in columns:
        number = _score(one, task, metric + ending)
        if (task, metric) in with_interval and one.intervals:
            low, high = one.intervals.get(task, {}).get(metric + ending, (math.nan, math.nan))
            cells.append((number, "-" if math.isnan(low) else f"{low:.1f}-{high:.1f}"))
        else:
            cells.append((number,))
    return cells


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
