"""Results as tables of text, and tables as Markdown."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from oiv5_d2.runs.metrics import COCO, METRICS, Metric
from oiv5_d2.runs.results import Results
from oiv5_d2.table import Table

TASKS = {"segm": "segm", "bbox": "box"}  # name in the results: name for people


class Column(NamedTuple):
    """One number of each row, and perhaps its interval beside it."""

    header: str
    task: str  # as in `Results.tasks`
    name: str  # of the number, without a class
    has_interval: bool


def ap_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per data set: all of COCO's mask metrics, box AP, then the other metrics.

    For a model without masks the box metrics take their place. Beside each metric's headline is
    its interval.
    """
    main, *others = _tasks(evaluations)
    columns = [
        _column(COCO, main, name, f"{TASKS[main]} " if name == COCO.headline else "")
        for name in COCO.summary
    ]
    columns += [
        Column(f"{TASKS[task]} {COCO.headline}", task, COCO.headline, False) for task in others
    ]
    columns += [
        _column(metric, main, name) for metric in _others(evaluations) for name in metric.summary
    ]
    columns = _with_intervals(columns, evaluations)
    rows = [(one.dataset, f"{one.num_images:,}", *_numbers(one, columns)) for one in evaluations]
    return Table("Average precision", ("data", "images", *_headers(columns)), rows)


def class_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per class and data set: number of objects, AP and AP50 of masks and boxes.

    The other metrics come last. Beside each metric's headline is its interval.
    """
    main, *_ = tasks = _tasks(evaluations)
    columns = [
        _column(COCO, task, name, f"{TASKS[task]} ")._replace(
            has_interval=(task, name) == (main, COCO.headline)
        )
        for task in tasks
        for name in COCO.per_class
    ]
    columns += [
        _column(metric, main, name) for metric in _others(evaluations) for name in metric.per_class
    ]
    columns = _with_intervals(columns, evaluations)
    rows = [
        (one.dataset, name, f"{count:,}", *_numbers(one, columns, f"-{name}"))
        for one in evaluations
        for name, count in one.num_instances.items()
    ]
    headers = ("data", "class", "instances", *_headers(columns))
    return Table("Average precision per class", headers, rows, num_names=2)


def _column(metric: Metric, task: str, name: str, before: str = "") -> Column:
    return Column(
        f"{before or metric.mark}{name}", metric.task(task), name, name == metric.headline
    )


def _others(evaluations: Sequence[Results]) -> list[Metric]:
    """Return the metrics beside COCO's that were computed."""
    main, *_ = _tasks(evaluations)
    return [
        metric
        for metric in METRICS
        if metric is not COCO and any(metric.task(main) in one.tasks for one in evaluations)
    ]


def _with_intervals(columns: Sequence[Column], evaluations: Sequence[Results]) -> list[Column]:
    """Return the columns, without intervals where nothing has any."""
    has_any = any(one.intervals for one in evaluations)
    return [one._replace(has_interval=one.has_interval and has_any) for one in columns]


def _headers(columns: Sequence[Column]) -> list[str]:
    return [text for one in columns for text in (one.header, *["95 %"] * one.has_interval)]


def _numbers(results: Results, columns: Sequence[Column], ending: str = "") -> list[str]:
    """Return each column's number, with its interval if it has one."""
    cells = []
    for one in columns:
        name = one.name + ending
        cells.append(score(results.tasks.get(one.task, {}).get(name)))
        if one.has_interval:
            low, high = results.intervals.get(one.task, {}).get(name, (math.nan, math.nan))
            cells.append("-" if math.isnan(low) else f"{low:.1f}-{high:.1f}")
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
