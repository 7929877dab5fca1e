"""The numbers that a run wrote while it trained: Detectron2's ``metrics.json``, a line per step."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

METRICS_JSON = "metrics.json"
ITERATION = "iteration"
EVALUATED = re.compile(r"(^|/)(bbox|segm|validation)/")
LOSS = re.compile(r"^validation/")

Scalars = list[dict[str, Any]]  # a row per iteration, ascending; a row has only what was written


class Series(NamedTuple):
    """One number over training: iterations, ascending, and its values there; no NaN."""

    iterations: list[int]
    values: list[float]


def read_scalars(run_dir: Path) -> Scalars:
    """Return one row per iteration, ascending; NaN is left out.

    A resumed run wrote some iterations twice: the later line holds.

    Raises:
        Problem: ABSENT, the run wrote none; DAMAGED, a line is not JSON. The last line may be cut
            short, as a killed run leaves it.
    """
    path = run_dir / METRICS_JSON
    if not path.is_file():
        raise Problem(Kind.ABSENT, path, "the run has not trained", remedy=Remedy.TRAIN)
    lines = path.read_text().splitlines()
    by_iteration: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        row = _parse(line, path, number, is_last=number == len(lines))
        if ITERATION in row:
            by_iteration.setdefault(row[ITERATION], {}).update(row)
    return [by_iteration[iteration] for iteration in sorted(by_iteration)]


def series(scalars: Scalars, name: str) -> Series:
    """Return one number where it was written; empty where there is no such number."""
    found = [(int(row[ITERATION]), float(row[name])) for row in scalars if name in row]
    return Series([iteration for iteration, _ in found], [value for _, value in found])


def evaluated_names(scalars: Scalars) -> list[str]:
    """Return the names of the numbers that evaluations wrote, sorted."""
    return sorted({name for row in scalars for name in row if EVALUATED.search(name)})


def write_evaluated(scalars: Scalars, path: Path) -> None:
    """Write the evaluations as CSV: one row each, empty for what has no value.

    Precision has two decimals, a loss has four.
    """
    names = evaluated_names(scalars)
    rows = [_cells(row, names) for row in scalars if not row.keys().isdisjoint(names)]
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{','.join(row)}\n" for row in [[ITERATION, *names], *rows]))


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    decimals = {name: 4 if LOSS.match(name) else 2 for name in names}
    values = [f"{row[name]:.{decimals[name]}f}" if name in row else "" for name in names]
    return [str(row[ITERATION]), *values]


def _parse(line: str, path: Path, number: int, is_last: bool) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError as error:
        if is_last:
            return {}
        detail = f"line {number}: not JSON: {error}"
        raise Problem(Kind.DAMAGED, path, detail, remedy=Remedy.TRAIN) from error
    return {k: v for k, v in row.items() if v is not None and not math.isnan(v)}
