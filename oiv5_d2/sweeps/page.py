"""The page of a sweep: one HTML file that can be mailed, without a network."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from oiv5_d2.pages import page as pages
from oiv5_d2.sweeps import figures, learning_curve
from oiv5_d2.sweeps.figures import Axis, Line, Scale
from oiv5_d2.sweeps.leaderboard import Row, cells, columns, differing, word
from oiv5_d2.sweeps.ranges import distributions
from oiv5_d2.sweeps.settings import Plan

PAGE = "leaderboard.html"


class Chart(NamedTuple):
    """Lines between two axes.

    Attributes:
        across: (position, label) of the ticks.
        up: the same.
        lines: what is drawn.
        dots: (trial, right, up) of points without a line.
        names: of both axes.
    """

    across: list[tuple[float, str]]
    up: list[tuple[float, str]]
    lines: list[Line]
    dots: Sequence[tuple[int | None, float, float]]
    names: tuple[str, str]


def write_page(sweep_dir: Path, plan: Plan, study: optuna.Study, rows: Sequence[Row]) -> Path:
    """Write the page into the sweep's folder; return its path."""
    names = differing(rows)
    axes, lines = figures.parallel(rows, names, distributions(plan.ranges), plan.metric)
    shares = _share_chart(plan, rows)
    best = next((row for row in rows if row.state == "finished"), None)
    content: dict[str, Any] = {
        "title": plan.study,
        "metric": plan.metric,
        "counts": Counter(row.state for row in rows),
        "columns": columns(names, plan.metric)[:-1],
        "rows": [[word(cell) for cell in cells(row, names)[:-1]] for row in rows],
        "texts": [name for name in (*names, "state") if not _is_number(name, rows)],
        "tips": {row.number: _tip(row, names) for row in rows},
        "reasons": [(row.number, row.reason) for row in rows if row.reason],
        "commands": [(row.number, row.command) for row in rows],
        "states": [row.state for row in rows],
        "axes": axes,
        "lines": lines,
        "single": None if shares or len(names) != 1 else _single_chart(axes, lines),
        "importance": figures.importance(study),
        "curves": _curve_chart(plan, rows),
        "shares": shares and shares[0],
        "law": shares and shares[1],
        "command": best.command if best else "",
    }
    pages.write_page(sweep_dir / PAGE, __package__, "page.html.jinja", content)
    return sweep_dir / PAGE


def _tip(row: Row, names: Sequence[str]) -> str:
    """Return what is said of a trial where its line is pointed at."""
    params = [f"{name} {word(row.params.get(name))}" for name in names]
    return "\n".join([f"trial {row.number}: {word(row.value)}", *params])


def _is_number(name: str, rows: Sequence[Row]) -> bool:
    try:
        return bool([float(row.params[name]) for row in rows])
    except (KeyError, ValueError):
        return False


def _single_chart(axes: Sequence[Axis], lines: Sequence[Line]) -> Chart | None:
    """Return the metric over the one setting in which trials differ."""
    one, metric = axes
    dots = [(line.number, line.points[0][1], line.points[1][1]) for line in lines]
    return Chart(one.ticks, metric.ticks, [], dots, (one.name, metric.name)) if dots else None


def _curve_chart(plan: Plan, rows: Sequence[Row]) -> Chart | None:
    across, up, lines = figures.curves(rows)
    if not lines:
        return None
    return Chart(across.ticks(), up.ticks(), lines, [], ("step", plan.metric))


def _share_chart(plan: Plan, rows: Sequence[Row]) -> tuple[Chart, str] | None:
    """Return the learning curve and what it says, where trials differ in their share of data."""
    measured = learning_points(rows)
    points = [(share, value) for _, share, value in measured]
    law = learning_curve.fit(points, plan.metric)
    if law is None:
        return None
    low = min(share for share, _ in points)
    drawn = learning_curve.samples(law, low)
    values = [value for _, value in (*points, *drawn)]
    across, up = Scale(low, learning_curve.AHEAD[-1], True), Scale(min(values), max(values))
    line = [(across.at(share), up.at(value)) for share, value in drawn]
    last = sum(share <= 1 for share, _ in drawn)  # of what was measured
    lines = [Line(None, line[last - 1 :], None), Line(None, line[:last], 1.0)]
    dots = [(number, across.at(share), up.at(value)) for number, share, value in measured]
    names = ("share of the data, on a logarithmic axis", plan.metric)
    return Chart(across.ticks(), up.ticks(), lines, dots, names), law.words()


def learning_points(rows: Sequence[Row]) -> list[tuple[int, float, float]]:
    """Return (trial, share of the data, metric) of finished trials that were given a share."""
    return [
        (row.number, float(row.params[learning_curve.SHARE]), row.value)
        for row in rows
        if row.state == "finished" and learning_curve.SHARE in row.params and row.value is not None
    ]
