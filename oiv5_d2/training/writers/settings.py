"""What a run tells W&B about itself, and the switches for it: ``logger`` in the configs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from oiv5_d2.keys import check_known
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import is_trial
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.runs.privacy import public

BEST, LAST = "best", "last"  # models that can be sent
FACTS, FILES = "facts", "files"  # of a data set
TRAIN, TRIAL = "train", "trial"  # types of jobs
LONGEST_TAG = 64  # characters that W&B takes
SHOWN = ("name", "notes", "group", "job_type", "tags")  # arguments of wandb.init that others read


@dataclass(frozen=True)
class Send:
    """What is sent beside numbers: ``logger.send`` in the configs.

    Attributes:
        images: validation images at every evaluation, always the same; 0 for none.
        extremes: of the worst and of the best images at every evaluation; 0 for none.
        training_images: of the first batch, as the model gets them; 0 for none.
        tables: at the end: a row a validation image, and the classes.
        table_images: how many rows, the worst ones, show their image.
        dataset: ``facts``: counts and checksum; ``files``: its COCO file and images as well.
        models: checkpoints, of ``best`` and ``last``.
        predictions: detections and results of the last evaluation.
        system: load of the processors, memory, disk and network, every 15 seconds.
        machine: host name, folders, console, code and Git remote, too.
    """

    images: int = 8
    extremes: int = 4
    training_images: int = 4
    tables: bool = True
    table_images: int = 16
    dataset: str | None = FACTS
    models: Sequence[str] = (BEST, LAST)
    predictions: bool = True
    system: bool = True
    machine: bool = False


@dataclass(frozen=True)
class About:
    """The run that is written about.

    Attributes:
        run_dir: its folder.
        classes: display names, in the order of their category ids.
        train: data sets to learn from.
        tested: data sets that are evaluated; images of the first one are shown.
        metric: by which the best checkpoint is chosen.
        config: as the run's page shows it.
    """

    run_dir: Path
    classes: Sequence[str]
    train: Sequence[Prepared]
    tested: Sequence[Prepared]
    metric: str
    config: Mapping[str, Any]


def read_send(logger: Mapping[str, Any]) -> Send:
    """Return ``logger.send``.

    Raises:
        Problem: SETTING, an unknown key, or a value that has no meaning.
    """
    given = dict(logger.get("send") or {})
    wanted = [f"logger.send.{each.name}" for each in fields(Send)]
    check_known([f"logger.send.{key}" for key in given], wanted)
    send = Send(**given)
    if send.dataset not in (None, FACTS, FILES):
        detail = f"there are {FACTS}, {FILES}, null"
        raise wrong_setting("logger.send.dataset", send.dataset, detail)
    for model in send.models:
        if model not in (BEST, LAST):
            raise wrong_setting("logger.send.models", list(send.models), f"of {BEST}, {LAST}")
    return send


def init_arguments(
    logger: Mapping[str, Any], record: Mapping[str, Any], config: Mapping[str, Any], run_dir: Path
) -> dict[str, Any]:
    """Return the arguments of ``wandb.init``; those of the configs come first.

    Args:
        logger: ``logger`` in the configs.
        record: the run's ``run.json``: its id, name and question.
        config: as the run's page shows it.
        run_dir: where W&B writes.
    """
    own = {
        "id": record["wandb_id"],
        "name": title(record["name"], run_dir),
        "notes": record["question"],
        "job_type": TRIAL if is_trial(run_dir) else TRAIN,
    }
    given = {key: value for key, value in logger.items() if key != "send" and value is not None}
    every = {**own, **given}
    if is_trial(run_dir):
        every["tags"] = [*every.get("tags", []), run_dir.absolute().parent.name[:LONGEST_TAG]]
    shown = public({key: every[key] for key in SHOWN if key in every}, read_send(logger).machine)
    return {"resume": "allow", "dir": str(run_dir), "config": dict(config), **every, **shown}


def title(name: str, run_dir: Path) -> str:
    """Return what a run is called: its experiment and its folder; a trial's, in its sweep's."""
    *_, parent, own = ("", *run_dir.parts)
    return " ".join([name, *([parent] if own.isdigit() else []), own])
