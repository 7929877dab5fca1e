"""Results as tables of text: for the screen, for Markdown."""

import math
from collections.abc import Sequence

from oiv5_d2.runs.results import METRICS, Results
from oiv5_d2.table import Table

ABSENT = "-"  # nothing to measure
TASKS = {"segm": "segm", "bbox": "box"}  # name in the results: name for people


def ap_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per data set: all of COCO's mask metrics, and box AP.

    For a model without masks the box metrics take their place.
    """
    main = _main_task(evaluations)
    others = [task for task in TASKS if task != main and _has(evaluations, task)]
    headers = [f"{TASKS[main]} AP", *METRICS[1:], *(f"{TASKS[task]} AP" for task in others)]
    rows = []
    for one in evaluations:
        own = [one.tasks.get(main, {}).get(metric, math.nan) for metric in METRICS]
        other = [one.tasks.get(task, {}).get("AP", math.nan) for task in others]
        rows.append((one.dataset, f"{one.num_images:,}", *map(score, [*own, *other])))
    return Table("Average precision", ("data", "images", *headers), rows)


def class_table(evaluations: Sequence[Results]) -> Table:
    """Return one row per class and data set: number of objects, AP and AP50 of masks and boxes."""
    tasks = [task for task in TASKS if _has(evaluations, task)]
    keys = [(task, metric) for task in tasks for metric in METRICS[:2]]
    headers = [f"{TASKS[task]} {metric}" for task, metric in keys]
    rows = [
        (
            one.dataset,
            class_name,
            f"{count:,}",
            *(
                score(one.tasks.get(task, {}).get(f"{metric}-{class_name}", math.nan))
                for task, metric in keys
            ),
        )
        for one in evaluations
        for class_name, count in one.num_instances.items()
    ]
    columns = ("data", "class", "instances", *headers)
    return Table("Average precision per class", columns, rows, num_names=2)


def score(value: float) -> str:
    """Return a metric with one decimal; a dash where there is nothing to measure."""
    return ABSENT if math.isnan(value) else f"{value:.1f}"


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, without a line end."""
    aligns = [" --- " if table.is_text(i) else " ---: " for i in range(len(table.columns))]
    lines = [
        _join(table.columns),
        f"|{'|'.join(aligns)}|",
        *(_join([cell.replace("|", "\\|") for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines)


def to_text(table: Table) -> str:
    """Return the table in aligned columns, without a line end."""
    rows = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        [
            cell.ljust(width) if table.is_text(i) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _main_task(evaluations: Sequence[Results]) -> str:
    return next((task for task in TASKS if _has(evaluations, task)), "segm")


def _has(evaluations: Sequence[Results], task: str) -> bool:
    return any(task in one.tasks for one in evaluations)
