"""The table of a sweep: a row per trial, best first, in ``trials.csv`` and on the screen."""

import csv
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from oiv5_d2.files import whole_file
from oiv5_d2.runs import layout
from oiv5_d2.runs.metrics import is_loss
from oiv5_d2.sweeps.settings import Plan
from oiv5_d2.sweeps.study import REASON
from oiv5_d2.table import Table, to_text

TRIALS_CSV = "trials.csv"
STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
CUT_OFF = "cut off"  # running in the study, but no longer: the next start continues it
WITHOUT_RESULT = (STATES[TrialState.FAIL], CUT_OFF)

ToCommand = Callable[..., str]  # from the words of a command line to what is typed

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """A trial.

    Attributes:
        number: in the study; its folder's name.
        params: what trials differ in.
        state: in a word.
        value: of the metric; of a pruned trial at its last evaluation; None without a result.
        steps: made.
        minutes: that they took.
        reason: why there is no result.
        curve: the metric at the evaluations, by step.
        command: that trains its run alone.
    """

    number: int
    params: dict[str, Any]
    state: str
    value: float | None
    steps: int | None
    minutes: float | None
    reason: str
    curve: dict[int, float]
    command: str


def write_leaderboard(
    sweep_dir: Path, plan: Plan, study: optuna.Study, to_command: ToCommand
) -> list[Row]:
    """Write ``trials.csv`` into the sweep's folder, log it as a table, and return its rows."""
    rows = read_rows(sweep_dir, plan, study, to_command)
    names = differing(rows)
    path = sweep_dir / TRIALS_CSV
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns(names, plan.metric))
        writer.writerows(cells(row, names) for row in rows)
    table = Table(
        "Trials", tuple(columns(names, plan.metric)[:-1]), [_words(row, names) for row in rows]
    )
    lines = [to_text(table), *(f"Trial {row.number}: {row.reason}" for row in rows if row.reason)]
    logger.info("Trials, best %s first (%s):\n%s", plan.metric, path, "\n".join(lines))
    if rows and rows[0].state == STATES[TrialState.COMPLETE]:
        logger.info("Best trial: %s", rows[0].command)
    return rows


def read_rows(sweep_dir: Path, plan: Plan, study: optuna.Study, to_command: ToCommand) -> list[Row]:
    """Return all trials: finished ones, best first, then pruned ones, then all others."""
    sign = 1 if is_loss(plan.metric) else -1
    ranks = [STATES[TrialState.COMPLETE], STATES[TrialState.PRUNED]]
    rows = [_row(sweep_dir, plan, one, to_command) for one in study.get_trials(deepcopy=False)]

    def rank(row: Row) -> tuple[Any, ...]:
        place = ranks.index(row.state) if row.state in ranks else len(ranks)
        return place, sign * (row.value or 0.0), row.number

    return sorted(rows, key=rank)


def differing(rows: Sequence[Row]) -> list[str]:
    """Return the settings in which trials differ; those of a single trial all."""
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    if len(rows) < 2:
        return names
    return [name for name in names if len({row.params.get(name) for row in rows}) > 1]


def columns(names: Sequence[str], metric: str) -> list[str]:
    """Return the names of the table's columns.

    Args:
        names: of the settings in which trials differ.
        metric: what is compared.
    """
    return ["trial", metric, *names, "state", "steps", "minutes", "reason"]


def cells(row: Row, names: Sequence[str]) -> list[Any]:
    """Return what a row of the table has in its `columns`."""
    params = [row.params.get(name) for name in names]
    return [row.number, row.value, *params, row.state, row.steps, row.minutes, row.reason]


def word(value: Any) -> str:
    """Return a cell as it is shown."""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
    return "-" if value is None else str(value)


def _row(sweep_dir: Path, plan: Plan, trial: FrozenTrial, to_command: ToCommand) -> Row:
    run_dir = sweep_dir / str(trial.number)
    is_run = (run_dir / layout.RUN_JSON).is_file()
    record = layout.read_record(run_dir) if is_run else {}
    seconds, reason = record.get("seconds"), trial.user_attrs.get(REASON, "")
    params = trial.params or trial.system_attrs.get("fixed_params", {})
    is_cut_off = trial.state is TrialState.RUNNING and reason
    return Row(
        number=trial.number,
        params=params,
        state=CUT_OFF if is_cut_off else STATES[trial.state],
        value=trial.value,
        steps=record.get("iterations"),
        minutes=None if seconds is None else round(seconds / 60, 2),
        reason=reason,
        curve=dict(sorted(trial.intermediate_values.items())),
        command=to_command(*plan.words_of(params)),
    )


def _words(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(word, cells(row, names)[:-1]))
