"""What there is to look at: the parts of a data folder, and those that runs were evaluated on."""

import os
from collections.abc import Sequence
from pathlib import Path

from oiv5_d2.exploring.album import Run
from oiv5_d2.exploring.query import RUNS
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.layout import EVALUATION, find_dataset, find_run, read_record
from oiv5_d2.runs.prepared import Prepared, locate
from oiv5_d2.runs.results import PREDICTIONS_JSON

USUAL = ("train", "validation", "test")  # parts, in the order in which they are shown


def find_parts(name: str, data_dir: Path, parts: Sequence[str]) -> list[Prepared]:
    """Return prepared parts of a data set.

    Args:
        name: of the data set.
        data_dir: where it is.
        parts: their names; all if empty.

    Raises:
        Problem: ABSENT, one of them is not prepared, or none is.
    """
    there = [path.stem for path in sorted((data_dir / "coco").glob("*.json"))]
    known = [*(part for part in USUAL if part in there), *(p for p in there if p not in USUAL)]
    return locate(name, data_dir, [f"{name}_{part}" for part in parts or known or USUAL[:1]])


def find_runs(paths: Sequence[str]) -> list[Run]:
    """Return the runs of one or two folders, with names that tell them apart.

    Raises:
        Problem: SETTING, there are more; or those of `find_run`.
    """
    if len(paths) > len(RUNS):
        raise wrong_setting("runs", f"[{','.join(paths)}]", f"at most {len(RUNS)} runs")
    folders = [find_run(Path(path)) for path in paths]
    names = [str(read_record(folder).get("name", folder.name)) for folder in folders]
    if len(set(names)) < len(names):
        above = os.path.commonpath([folder.absolute() for folder in folders])
        names = [os.path.relpath(folder, above) for folder in folders]
    return [Run(name, folder) for name, folder in zip(names, folders, strict=True)]


def find_evaluated(runs: Sequence[Run], parts: Sequence[str]) -> list[Prepared]:
    """Return the data that one of the runs was evaluated on.

    Args:
        runs: one or two.
        parts: names of the parts wanted; all if empty.

    Raises:
        Problem: UNFINISHED, a run was evaluated on none of them; or those of `find_dataset`.
    """
    found: dict[str, Prepared] = {}
    for run in runs:
        predictions = (run.folder / EVALUATION).glob(f"*/{PREDICTIONS_JSON}")
        names = sorted(path.parent.name for path in predictions)
        datasets = [find_dataset(run.folder, name) for name in names]
        own = [one for one in datasets if not parts or one.json_path.stem in parts]
        if not own:
            wanted = f" on {', '.join(parts)}" if parts else ""
            detail = f"it was never evaluated{wanted}"
            raise Problem(Kind.UNFINISHED, run.folder, detail, remedy=Remedy.EVALUATE)
        found |= {one.name: one for one in own if one.name not in found}
    return list(found.values())
