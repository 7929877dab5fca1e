"""Runs: found, held and read, with the data and the evaluations that belong to them."""

import fcntl
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from oiv5_d2.files import read_json, whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.prepared import Prepared, locate
from oiv5_d2.runs.results import PREDICTIONS_JSON, RESULTS_JSON, Results, read_results

RUN_JSON = "run.json"
TRIAL_JSON = "trial.json"  # of a run that is a trial of a sweep: which one, and where its study is
CONFIG_YAML = "config.yaml"
LOG_TXT = "log.txt"
FINAL_WEIGHTS = "model_final.pth"
AVERAGED_WEIGHTS = "model_{average}.pth"  # weights only, such as model_ema.pth
EVALUATION = "evaluation"
LOCK = ".lock"
NOTES = ".hydra"  # the command's words and what they were composed to

Record = dict[str, Any]  # the content of run.json


def find_finished(path: Path) -> Path:
    """Return a finished run's folder.

    Args:
        path: the folder itself, or one that holds runs (``outputs/quickstart``, a sweep): then the
            newest finished one below it.

    Raises:
        Problem: UNFINISHED, there is none; ABSENT, not even a folder; or `read_record`'s.
    """
    if is_finished(path):
        return path
    below = [found.parent for found in path.glob("*/**/" + RUN_JSON) if is_finished(found.parent)]
    if not below:
        kind = Kind.UNFINISHED if path.is_dir() else Kind.ABSENT
        raise Problem(kind, path, f"no finished run ({RUN_JSON}) there", remedy=Remedy.TRAIN)
    return max(below, key=lambda run_dir: ((run_dir / RUN_JSON).stat().st_mtime_ns, run_dir))


def find_run(path: Path) -> Path:
    """Return a run's folder, finished or not; of a folder of runs, its newest finished one.

    Raises:
        Problem: as `find_finished`.
    """
    return path if (path / RUN_JSON).is_file() else find_finished(path)


def find_evaluation(path: Path) -> tuple[Path, Path]:
    """Return a run's folder and that of its evaluations: of the final weights, or the one given.

    Raises:
        Problem: as `find_run`.
    """
    if path.name.startswith(EVALUATION) and (path.parent / RUN_JSON).is_file():
        return path.parent, path
    run_dir = find_run(path)
    return run_dir, run_dir / EVALUATION


@contextmanager
def claim(run_dir: Path) -> Iterator[None]:
    """Make a run's folder and hold it, so that no two processes ever train in one.

    Raises:
        Problem: BUSY, another process trains there.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            key, remedy = "run_dir", Remedy.WAIT
            raise Problem(Kind.BUSY, run_dir, key=key, remedy=remedy) from None
        yield


def is_finished(run_dir: Path) -> bool:
    """Return True if a run has finished: its record then says how long it took."""
    return (run_dir / RUN_JSON).is_file() and "seconds" in read_record(run_dir)


def is_trial(run_dir: Path) -> bool:
    """Return True if a run is a trial of a sweep."""
    return (run_dir / TRIAL_JSON).is_file()


def read_record(run_dir: Path) -> Record:
    """Read ``run.json``.

    Raises:
        Problem: ABSENT, the folder is not a run; DAMAGED, the file is not JSON.
    """
    record: Record = read_json(run_dir / RUN_JSON, Remedy.TRAIN)
    return record


def find_part(run_dir: Path, part: str) -> Prepared:
    """Return the prepared data of one part of the first data set family that a run used.

    Raises:
        Problem: ABSENT, that part is not prepared.
    """
    family, data_dir = _family(run_dir)
    (found,) = locate(family, data_dir, [f"{family}_{part}"])
    return found


def find_dataset(run_dir: Path, dataset_name: str) -> Prepared:
    """Return the same by the full name, ``{family}_{part}``, of any family that was used."""
    family, data_dir = _family(run_dir)
    (found,) = locate(family, data_dir, [dataset_name])
    return found


def find_weights(run_dir: Path, weights: str) -> Path:
    """Return the path of weights given by a name in the run's folder, or by a path."""
    inside = run_dir / weights
    return inside if inside.is_file() or not Path(weights).is_file() else Path(weights)


def output_dir_of(
    run_dir: Path, dataset_name: str, weights_path: Path, changes: Iterable[str] = ()
) -> Path:
    """Return the folder for results: another one for other weights than the final ones.

    Args:
        run_dir: the run.
        dataset_name: what is evaluated.
        weights_path: the weights.
        changes: what differs from the run's own configuration, as ``key=value``: it is in the
            folder's name, as ``key-value``.
    """
    final = weights_path.name == FINAL_WEIGHTS
    words = [EVALUATION, *([] if final else [weights_path.stem])]
    # Without signs that would have to be quoted on a command line.
    words += [re.sub(r"[^\w.-]+", "-", change).strip("-") for change in changes]
    return run_dir / "_".join(words) / dataset_name


def read_evaluations(run_dir: Path) -> list[Results]:
    """Return all results of a run's final weights: its own data sets first, then others by name."""
    paths = sorted((run_dir / EVALUATION).glob(f"*/{RESULTS_JSON}"))
    own = read_record(run_dir)["data"]
    return sorted(map(read_results, paths), key=lambda one: one.dataset not in own)


def read_predictions(run_dir: Path, dataset_name: str) -> list[dict[str, Any]]:
    """Return a run's detections on one data set in COCO's result format.

    Raises:
        Problem: ABSENT, the run was not evaluated on that data set; DAMAGED, the file is not JSON.
    """
    path = run_dir / EVALUATION / dataset_name / PREDICTIONS_JSON
    found: list[dict[str, Any]] = read_json(path, Remedy.EVALUATE)
    return found


def data_choice(run_dir: Path) -> tuple[str, list[str]]:
    """Return what a run chose under ``data``: the file of ``configs/data``, and all overrides."""
    chosen = OmegaConf.select(hydra_file(run_dir, "hydra"), "hydra.runtime.choices.data")
    overrides = hydra_file(run_dir, "overrides")
    return chosen or _family(run_dir)[0], [str(word) for word in overrides]


def _family(run_dir: Path) -> tuple[str, Path]:
    """Return the name that a run's data sets share, or the first one's, and their data folder."""
    data, path = read_record(run_dir)["data"], run_dir / CONFIG_YAML
    config = OmegaConf.load(path) if path.is_file() else OmegaConf.create({})
    trained = OmegaConf.select(config, "DATASETS.TRAIN") or ()
    name = next(one for one in (*trained, *data) if one in data)
    json_path = Path(data[name]["json"])
    return name.removesuffix(f"_{json_path.stem}"), json_path.parents[1]


def hydra_file(run_dir: Path, name: str) -> Any:
    """Return what Hydra noted about a run: ``config``, ``overrides`` or ``hydra``; or nothing."""
    path = run_dir / NOTES / f"{name}.yaml"
    return OmegaConf.load(path) if path.is_file() else OmegaConf.create({})


def write_notes(run_dir: Path, notes: Mapping[str, str]) -> None:
    """Write what `hydra_file` reads: YAML by name."""
    for name, text in notes.items():
        with whole_file(run_dir / NOTES / f"{name}.yaml") as path:
            path.write_text(text)
