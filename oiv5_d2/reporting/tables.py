"""Results as tables of text: for the screen, for Markdown."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from oiv5_d2.runs.results import METRICS, Results

ABSENT = "-"  # nothing to measure
TASKS = {"segm": "segm", "bbox": "box"}  # as results call them: as people do


class Table(NamedTuple):
    """Headers and rows of text; the first `num_names` columns are names, the others numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 1


def ap_table(evaluations: Sequence[Results]) -> Table:
    """Return one row a data set: all of COCO's mask metrics, and box AP.

    For a model without masks the box metrics stand in their place.
    """
    main = _main_task(evaluations)
    others = [task for task in TASKS if task != main and _has(evaluations, task)]
    headers = [f"{TASKS[main]} AP", *METRICS[1:], *(f"{TASKS[task]} AP" for task in others)]
    rows = []
    for one in evaluations:
        own = [one.tasks.get(main, {}).get(metric, math.nan) for metric in METRICS]
        other = [one.tasks.get(task, {}).get("AP", math.nan) for task in others]
        rows.append((one.dataset, f"{one.num_images:,}", *map(score, [*own, *other])))
    return Table(("data", "pictures", *headers), tuple(rows))


def class_table(evaluations: Sequence[Results]) -> Table:
    """Return one row a class and data set: how many objects, AP and AP50 of masks and boxes."""
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
    return Table(("data", "class", "instances", *headers), tuple(rows), num_names=2)


def score(value: float) -> str:
    """Return a metric with one decimal; a dash where there is nothing to measure."""
    return ABSENT if math.isnan(value) else f"{value:.1f}"


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, without a line end."""
    aligns = [" --- " if i < table.num_names else " ---: " for i in range(len(table.headers))]
    lines = [
        _join(table.headers),
        f"|{'|'.join(aligns)}|",
        *(_join([cell.replace("|", "\\|") for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines)


def to_text(table: Table) -> str:
    """Return the table in aligned columns, without a line end."""
    rows = [table.headers, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_align(row, widths, table.num_names)).rstrip() for row in rows)


def _align(row: Sequence[str], widths: Sequence[int], num_names: int) -> list[str]:
    return [
        cell.ljust(width) if i < num_names else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _main_task(evaluations: Sequence[Results]) -> str:
    return next((task for task in TASKS if _has(evaluations, task)), "segm")


def _has(evaluations: Sequence[Results], task: str) -> bool:
    return any(task in one.tasks for one in evaluations)
