"""The numbers that a run wrote while it trained: Detectron2's ``metrics.json``, a line a step."""

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from oiv5_d2.files import whole_file

METRICS_JSON = "metrics.json"
ITERATION = "iteration"
JUDGED = re.compile(r"(^|/)(bbox|segm)/")


class Series(NamedTuple):
    """One number over training: iterations, ascending, and its values there; no NaN."""

    iterations: list[int]
    values: list[float]


def read_scalars(run_dir: Path) -> pd.DataFrame:
    """Return one row an iteration, ascending, and one column a number; NaN where not written.

    A resumed run wrote some iterations twice: the later line holds.

    Raises:
        FileNotFoundError: the run wrote none.
        ValueError: a line is no JSON; the last one may be cut short, as a killed run leaves it.
    """
    path = run_dir / METRICS_JSON
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: {run_dir} has trained nothing")
    lines = path.read_text().splitlines()
    by_iteration: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        row = _parse(line, path, number, is_last=number == len(lines))
        if row is not None:
            by_iteration.setdefault(row[ITERATION], {}).update(row)
    rows = [by_iteration[iteration] for iteration in sorted(by_iteration)]
    return pd.DataFrame(rows)


def series(scalars: pd.DataFrame, name: str) -> Series:
    """Return one column without its gaps; empty when there is no such column."""
    if name not in scalars:
        return Series([], [])
    found = scalars[[ITERATION, name]].dropna()
    return Series(found[ITERATION].astype(int).tolist(), found[name].astype(float).tolist())


def judged_columns(scalars: pd.DataFrame) -> list[str]:
    """Return the names of the columns that evaluations wrote, sorted."""
    return sorted(name for name in scalars.columns if JUDGED.search(name))


def write_judged(scalars: pd.DataFrame, path: Path) -> None:
    """Write the evaluations as CSV: one row each, two decimals, empty for what has no value."""
    columns = judged_columns(scalars)
    rows = scalars.loc[scalars[columns].notna().any(axis=1), [ITERATION, *columns]]
    with whole_file(path) as part:
        rows.to_csv(part, index=False, float_format="%.2f", lineterminator="\n")


def _parse(line: str, path: Path, number: int, is_last: bool) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError as error:
        if is_last:
            return None
        raise ValueError(f"{path}, line {number}: no readable JSON ({error})") from error
    finite = {k: v for k, v in row.items() if not (isinstance(v, float) and math.isnan(v))}
    return finite if ITERATION in finite else None
