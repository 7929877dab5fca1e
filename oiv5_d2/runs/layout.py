"""Finished runs: found, read, and judged again on any part of their data."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from oiv5_d2.console.commands import prepare_command
from oiv5_d2.runs.prepared import Prepared, locate
from oiv5_d2.runs.results import PREDICTIONS_JSON, RESULTS_JSON, Results, read_results

logger = logging.getLogger(__name__)

RUN_JSON = "run.json"
CONFIG_YAML = "config.yaml"
FINAL_WEIGHTS = "model_final.pth"
EVALUATION = "evaluation"

Record = dict[str, Any]  # what run.json says


def find_finished(path: Path) -> Path:
    """Return a finished run's folder.

    Args:
        path: the folder itself, or one that holds runs (``outputs/quickstart``, a sweep): then the
            newest finished one below it.

    Raises:
        FileNotFoundError: there is none.
    """
    if is_finished(path):
        return path
    below = [found.parent for found in path.glob("*/**/" + RUN_JSON) if is_finished(found.parent)]
    if not below:
        raise FileNotFoundError(
            f"{path} is no finished run and holds none (no {RUN_JSON} with results): "
            "train one with tools/train_net.py, or go on with an interrupted one by resume=true"
        )
    return max(below, key=lambda run_dir: ((run_dir / RUN_JSON).stat().st_mtime_ns, run_dir))


def is_finished(run_dir: Path) -> bool:
    """Say whether a run came to its end: its record then says how long it took."""
    return (run_dir / RUN_JSON).is_file() and "seconds" in read_record(run_dir)


def read_record(run_dir: Path) -> Record:
    """Read ``run.json``.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: the file is no JSON.
    """
    path = run_dir / RUN_JSON
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: {run_dir} is not a run of tools/train_net.py")
    try:
        record: Record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no readable JSON ({error}): run the training again") from error
    return record


def find_part(run_dir: Path, part: str) -> Prepared:
    """Return the prepared data of one part of the data set family that a run used.

    Raises:
        FileNotFoundError: that part is not prepared; the message is the command that does it.
    """
    family, data_dir = _family(read_record(run_dir))
    make = _prepare_command(run_dir, family)
    (found,) = locate(family, data_dir, [f"{family}_{part}"], make)
    return found


def find_dataset(run_dir: Path, dataset_name: str) -> Prepared:
    """Return the same by the full name, ``{family}_{part}``."""
    family, _ = _family(read_record(run_dir))
    return find_part(run_dir, dataset_name.removeprefix(f"{family}_"))


def output_dir_of(run_dir: Path, dataset_name: str, weights_path: Path) -> Path:
    """Return where results go: those of other weights than the final ones lie apart."""
    final = weights_path.name == FINAL_WEIGHTS
    folder = EVALUATION if final else f"{EVALUATION}_{weights_path.stem}"
    return run_dir / folder / dataset_name


def read_evaluations(run_dir: Path) -> list[Results]:
    """Return all results of a run's final weights: its own data sets first, then others by name."""
    paths = sorted((run_dir / EVALUATION).glob(f"*/{RESULTS_JSON}"))
    own = read_record(run_dir)["data"]
    return sorted(map(read_results, paths), key=lambda one: one.dataset not in own)


def read_predictions(run_dir: Path, dataset_name: str) -> list[dict[str, Any]]:
    """Return a run's detections on one data set in COCO's result format.

    Raises:
        FileNotFoundError: it was not judged on that data set.
        ValueError: the file is damaged.
    """
    path = run_dir / EVALUATION / dataset_name / PREDICTIONS_JSON
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: python tools/evaluate.py run={run_dir}")
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no readable JSON ({error}): evaluate again") from error
    return found


def _family(record: Record) -> tuple[str, Path]:
    """Return the name that a run's data sets share, and their data folder."""
    name, files = next(iter(record["data"].items()))
    json_path = Path(files["json"])
    return name.removesuffix(f"_{json_path.stem}"), json_path.parents[1]


def _prepare_command(run_dir: Path, family: str) -> str:
    """Return the command that makes a run's data: the same choices under ``data``."""
    choices = OmegaConf.select(_hydra_file(run_dir, "hydra"), "hydra.runtime.choices.data")
    overrides = _hydra_file(run_dir, "overrides")
    return prepare_command(choices or family, map(str, overrides))


def _hydra_file(run_dir: Path, name: str) -> Any:
    path = run_dir / ".hydra" / f"{name}.yaml"
    return OmegaConf.load(path) if path.is_file() else OmegaConf.create({})
