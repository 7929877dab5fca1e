"""The table at the end of a sweep: one row a trial, best first.

Hydra calls this when a multirun ends. It reads what the trials left on disk, so it does not matter
in which process or on which machine they ran.
"""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.files import whole_file

logger = logging.getLogger(__name__)

NO_RESULT = "no result"


class TrialTable(Callback):  # type: ignore[misc]
    """Write ``trials.csv`` into the sweep's folder and log it as a table.

    Args:
        metric: what to sort by, ``<task>/<name>`` in a run's results, higher is better.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Collect the trials of the sweep that ended."""
        sweep_dir = Path(config.hydra.sweep.dir)
        trials = read_trials(sweep_dir, self.metric)
        with whole_file(sweep_dir / "trials.csv") as path:
            trials.to_csv(path, index=False)
        table = trials.to_string(index=False, float_format="{:.2f}".format, na_rep=NO_RESULT)
        logger.info("Trials, best %s first (%s):\n%s", self.metric, sweep_dir / "trials.csv", table)


def read_trials(sweep_dir: Path, metric: str) -> pd.DataFrame:
    """Return one row a trial: its folder's name, what it overrode, its metric, its minutes.

    Only overrides in which trials differ are columns. A trial without a result (it failed, or was
    cut) comes last with an empty metric.
    """
    folders = sorted(path.parent.parent for path in sweep_dir.glob("*/.hydra/overrides.yaml"))
    trials = pd.DataFrame([_read_trial(folder, metric) for folder in folders])
    constant = [
        name
        for name in trials.columns
        if name not in ("trial", metric, "minutes") and trials[name].nunique(dropna=False) == 1
    ]
    trials = trials.drop(columns=constant if len(trials) > 1 else [])
    return trials.sort_values(metric, ascending=False, kind="stable", na_position="last")


def _read_trial(folder: Path, metric: str) -> dict[str, Any]:
    words = OmegaConf.load(folder / ".hydra" / "overrides.yaml")
    pairs = (str(word).lstrip("+").partition("=") for word in words)
    overrides = {key: value for key, _, value in pairs}
    run_path = folder / "run.json"
    run = json.loads(run_path.read_text()) if run_path.is_file() else {}
    task, _, name = metric.partition("/")
    value = run.get("results", {}).get(task, {}).get(name)
    minutes = run["seconds"] / 60 if "seconds" in run else None
    return {"trial": folder.name, **overrides, metric: value, "minutes": minutes}
