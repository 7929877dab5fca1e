"""A run's curves as charts: of its training, and of its scores by class."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from oiv5_d2.pages.charts import Chart, Line
from oiv5_d2.reporting.curves import panels
from oiv5_d2.reporting.diagnosis import LEAST_IN_BIN
from oiv5_d2.runs.scalars import Scalars

Classes = Mapping[str, Any]  # ``classes`` of the analysis
UNIT = (0.0, 1.0)
# Blue, orange, green, purple, ...: pink and lime are left to classes.
ORDER = (0, 1, 4, 5, 8, 6, 7)


def training_charts(scalars: Scalars) -> list[Chart]:
    """Return losses, precision and learning rate over iterations; without empty charts."""
    charts = []
    for panel in panels(scalars):
        lines = [
            Line(name, ORDER[i % len(ORDER)], one.iterations, one.values)
            for i, (name, one) in enumerate(panel.lines.items())
            if one.values
        ]
        y_span = None if panel.top is None else (0.0, panel.top)
        if lines:
            charts.append(
                Chart(panel.title, "iteration", lines, None, y_span, has_marks=bool(panel.marker))
            )
    return charts


def score_charts(classes: Classes, colours: Mapping[str, int]) -> list[Chart]:
    """Return precision over recall, F1 over score, and calibration, a line for each class."""
    recall = [_recall_line(name, one, colours[name]) for name, one in classes.items()]
    f1 = [_f1_line(name, one, colours[name]) for name, one in classes.items()]
    bins = [_calibration_line(name, one, colours[name]) for name, one in classes.items()]
    square = partial(Chart, x_span=UNIT, y_span=UNIT, is_square=True)
    title = "Calibration: share that is true, over score"
    return [
        square("Precision over recall", "recall", recall),
        square("F1 over the least score", "least score", f1),
        square(title, "score", bins, has_marks=True, has_diagonal=True),
    ]


def _recall_line(name: str, one: Mapping[str, Any], colour: int) -> Line:
    precision = one["precision_at_recall"]
    mark = (one["recall"], one["precision"])
    return Line(
        name, colour, np.linspace(0, 1, len(precision)).round(4).tolist(), precision, [mark]
    )


def _f1_line(name: str, one: Mapping[str, Any], colour: int) -> Line:
    marks = [] if one["threshold"] is None else [(one["threshold"], one["best_f1"])]
    return Line(name, colour, one["curves"]["score"], one["curves"]["f1"], marks)


def _calibration_line(name: str, one: Mapping[str, Any], colour: int) -> Line:
    bins = [(score, share) for count, score, share in one["bins"] if count >= LEAST_IN_BIN]
    return Line(name, colour, [score for score, _ in bins], [share for _, share in bins])
