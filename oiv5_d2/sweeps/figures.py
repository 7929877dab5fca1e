"""What a sweep's page shows, as numbers: axes, lines and bars in a unit square."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from oiv5_d2.sweeps.leaderboard import Row

Point = tuple[float, float]  # right and up, each from 0 to 1
MOST_TICKS = 7  # of a logarithmic axis
EDGE = 1e-9  # by how much a value may miss the end of an axis that it stands for


class Axis(NamedTuple):
    """A vertical axis of parallel coordinates.

    Attributes:
        name: a setting, or the metric.
        ticks: (height, label).
    """

    name: str
    ticks: list[tuple[float, str]]


class Line(NamedTuple):
    """A trial as a line.

    Attributes:
        number: of the trial; None of a line that is none.
        points: in order.
        goodness: 1 for the best trial, 0 for the worst; None without a result.
    """

    number: int | None
    points: list[Point]
    goodness: float | None


class Scale(NamedTuple):
    """Values to heights."""

    low: float
    high: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Return the height of a value, 0.5 if there is but one."""
        low, high, value = (self._of(one) for one in (self.low, self.high, value))
        return (value - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Return (height, label) of round values between both ends; of the value if it is one."""
        if self.high <= self.low:
            return [(0.5, label(self.low))]
        values = _decades(self.low, self.high) if self.is_log else []
        if len(values) < 2:
            values = _steps(self.low, self.high)
        return [(self.at(value), label(value)) for value in values]

    def _of(self, value: float) -> float:
        return math.log(value) if self.is_log else value


def label(value: float) -> str:
    """Return a number as an axis shows it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def parallel(
    rows: Sequence[Row], names: Sequence[str], space: Mapping[str, BaseDistribution], metric: str
) -> tuple[list[Axis], list[Line]]:
    """Return parallel coordinates (Inselberg, 1985): an axis a setting, the metric's last.

    Args:
        rows: of the table; those with a result are lines.
        names: of the settings.
        space: what each setting is drawn from.
        metric: its name.
    """
    shown = [row for row in rows if row.value is not None]
    axes, heights = [], []
    for name in names:
        axis, at = _axis(name, space[name], [row.params[name] for row in shown])
        axes.append(axis)
        heights.append(at)
    scale = Scale(*_span([row.value or 0.0 for row in shown]))
    axes.append(Axis(metric, scale.ticks()))
    heights.append([scale.at(row.value or 0.0) for row in shown])
    step = 1 / max(1, len(axes) - 1)
    goodness = _goodness(rows)
    lines = [
        Line(row.number, [(i * step, at[k]) for i, at in enumerate(heights)], goodness[row.number])
        for k, row in enumerate(shown)
    ]
    return axes, lines[::-1]  # the best one is drawn last


def curves(rows: Sequence[Row]) -> tuple[Scale, Scale, list[Line]]:
    """Return the metric over steps, of all trials on the same axes: both scales, and the lines."""
    points = [point for row in rows for point in row.curve.items()]
    across = Scale(0, max((step + 1 for step, _ in points), default=1))
    up = Scale(*_span([value for _, value in points]))
    goodness = _goodness(rows)
    lines = [
        Line(
            row.number,
            [(across.at(step + 1), up.at(value)) for step, value in row.curve.items()],
            goodness[row.number],
        )
        for row in rows
        if row.curve
    ]
    return across, up, lines[::-1]


def importance(study: optuna.Study) -> dict[str, float]:
    """Return how much each setting decides which trials are the best (PED-ANOVA, Watanabe 2023).

    Shares of 1, over the finished trials; empty if they are too few or too equal to tell.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < 4 or len({one.value for one in finished}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _axis(name: str, one: BaseDistribution, values: Sequence[Any]) -> tuple[Axis, list[float]]:
    if isinstance(one, CategoricalDistribution):
        size = max(1, len(one.choices) - 1)
        at = {choice: i / size for i, choice in enumerate(one.choices)}
        ticks = [(height, str(choice)) for choice, height in at.items()]
        return Axis(name, ticks), [at[value] for value in values]
    scale = Scale(one.low, one.high, one.log)  # type: ignore[attr-defined]
    return Axis(name, scale.ticks()), [scale.at(value) for value in values]


def _goodness(rows: Sequence[Row]) -> dict[int, float | None]:
    """Return 1 for the first row down to 0 for the last one with a result."""
    count = sum(row.value is not None for row in rows)
    return {
        row.number: None if row.value is None else 1 - i / max(1, count - 1)
        for i, row in enumerate(rows)
    }


def _span(values: Sequence[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (0.0, 1.0)


def _steps(low: float, high: float) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten between two ends, at most six."""
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(one * power for one in (1, 2, 5, 10) if (high - low) / (one * power) <= 5 + EDGE)
    first, last = math.ceil(low / step - EDGE), math.floor(high / step + EDGE)
    return [i * step for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times each power of ten between two ends; the powers alone if many."""
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high) + EDGE) + 1)
    values = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    found = [one for one in values if low * (1 - EDGE) <= one <= high * (1 + EDGE)]
    return found if len(found) <= MOST_TICKS else [one for one in found if f"{one:e}"[0] == "1"]
