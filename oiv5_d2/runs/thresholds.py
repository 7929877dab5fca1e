"""From which score on the detections of a class are taken for true: where its F1 is best."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oiv5_d2.runs.layout import read_evaluations
from oiv5_d2.runs.matches import MIN_SCORE


def choose_thresholds(analysis: Mapping[str, Any], classes: Sequence[str]) -> dict[str, float]:
    """Return each class's threshold, 0 to 1; `MIN_SCORE` where nothing was there to choose it by.

    Args:
        analysis: `Results.analysis`.
        classes: display names.
    """
    found = {name: one.get("threshold") for name, one in analysis.get("classes", {}).items()}
    chosen = {name: found.get(name) for name in classes}
    return {name: MIN_SCORE if one is None else float(one) for name, one in chosen.items()}


def read_thresholds(run_dir: Path) -> dict[str, float]:
    """Return the thresholds that a run's own evaluation chose, by class; empty without one.

    They are those of the data set that the run was validated on, whatever they are used for: on
    another one they are an honest choice.
    """
    for results in read_evaluations(run_dir)[:1]:
        return choose_thresholds(results.analysis, list(results.num_instances))
    return {}
