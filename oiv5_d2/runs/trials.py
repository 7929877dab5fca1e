"""The table at the end of a sweep: one row per trial, best first.

Hydra calls this when a multirun ends. It reads what the trials left on disk, so it does not matter
in which process or on which machine they ran.
"""

import csv
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.files import whole_file
from oiv5_d2.runs.layout import RUN_JSON
from oiv5_d2.runs.results import is_loss, look_up
from oiv5_d2.table import Table, to_text

logger = logging.getLogger(__name__)

NO_RESULT = "no result"

Trial = dict[str, Any]


class TrialTable(Callback):  # type: ignore[misc]
    """Write ``trials.csv`` into the sweep's folder and log it as a table.

    Args:
        metric: what to sort by, ``<task>/<name>`` in a run's results, the best first.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Collect the trials of the sweep that ended."""
        path = Path(config.hydra.sweep.dir) / "trials.csv"
        trials = read_trials(path.parent, self.metric)
        with whole_file(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(trials[0]) if trials else [], lineterminator="\n")
            writer.writeheader()
            writer.writerows(trials)
        logger.info("Trials, best %s first (%s):\n%s", self.metric, path, to_text(_table(trials)))


def read_trials(sweep_dir: Path, metric: str) -> list[Trial]:
    """Return one row per trial: its folder's name, what it overrode, its metric, its minutes.

    Only overrides in which trials differ are columns. A trial without a result (it failed, or was
    killed) comes last, with None for its metric.
    """
    folders = sorted(path.parent.parent for path in sweep_dir.glob("*/.hydra/overrides.yaml"))
    overrides = [_read_overrides(folder) for folder in folders]
    names = list(dict.fromkeys(name for one in overrides for name in one))
    if len(folders) > 1:
        names = [name for name in names if len({one.get(name) for one in overrides}) > 1]
    trials = [
        {"trial": folder.name, **{name: one.get(name) for name in names}}
        | _read_result(folder, metric)
        for folder, one in zip(folders, overrides, strict=True)
    ]
    sign = 1 if is_loss(metric) else -1
    return sorted(trials, key=lambda one: (one[metric] is None, sign * (one[metric] or 0.0)))


def _read_overrides(folder: Path) -> dict[str, str]:
    words = OmegaConf.load(folder / ".hydra" / "overrides.yaml")
    pairs = (str(word).lstrip("+").partition("=") for word in words)
    return {key: value for key, _, value in pairs}


def _read_result(folder: Path, metric: str) -> Trial:
    run_path = folder / RUN_JSON
    run = json.loads(run_path.read_text()) if run_path.is_file() else {}
    value = look_up(run.get("results", {}), metric)
    minutes = run["seconds"] / 60 if "seconds" in run else None
    return {metric: None if math.isnan(value) else value, "minutes": minutes}


def _table(trials: Sequence[Trial]) -> Table:
    columns = tuple(trials[0]) if trials else ()
    return Table("Trials", columns, [tuple(map(_cell, one.values())) for one in trials])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return NO_RESULT if value is None else str(value)
