"""One training run, from a frozen configuration to its results: what every worker process does."""

import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.events import EventWriter

from oiv5_d2.runs import provenance
from oiv5_d2.runs.prepared import Prepared, fingerprint
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import check, plain
from oiv5_d2.training.trainer import BuildEvaluator, Trainer
from oiv5_d2.training.writers import WandbWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a run needs beside Detectron2's configuration.

    Attributes:
        name: the experiment's name.
        question: what it is to answer.
        classes: display names, in the order of their category ids.
        datasets: the prepared data sets of ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        resume: go on from the run directory's last checkpoint.
        wandb: keyword arguments of ``wandb.init``; empty for none.
    """

    name: str
    question: str
    classes: tuple[str, ...]
    datasets: tuple[Prepared, ...]
    resume: bool
    wandb: dict[str, Any]


def train(cfg: CfgNode, settings: Settings, build_evaluator: BuildEvaluator) -> dict[str, Any]:
    """Train and judge one model in this process.

    Args:
        cfg: the frozen configuration.
        settings: the rest.
        build_evaluator: makes the evaluator of one data set.

    Returns:
        The last evaluation, ``{"bbox": {"AP": ...}, "segm": {...}}``; empty in other processes
        than the main one.

    Raises:
        ValueError: the configuration can't work, the weights can't be read, the run directory holds
            another run, or the data's classes are others.
    """
    check(cfg, torch.cuda.is_available())
    run_dir = Path(cfg.OUTPUT_DIR)
    _check_run_dir(run_dir, settings.resume)
    register(settings.datasets, settings.classes)
    default_setup(cfg, SimpleNamespace(eval_only=False))
    started = time.time()
    record = _describe(cfg, settings)
    trainer = Trainer(cfg, build_evaluator, partial(_wandb, cfg, settings, record))
    trainer.resume_or_load(resume=settings.resume)
    if comm.is_main_process():
        provenance.write(run_dir, record)
    results = trainer.train()
    if comm.is_main_process():
        done = {"results": results, "seconds": round(time.time() - started, 1)}
        provenance.write(run_dir, {**record, **done, "iterations": trainer.iter})
    return results


def metric(results: dict[str, Any], name: str) -> float:
    """Return one number of ``results`` by ``<task>/<name>``, ``segm/AP`` say.

    Raises:
        ValueError: there is no such number; the message names those there are.
    """
    task, _, key = name.partition("/")
    try:
        return float(results[task][key])
    except KeyError:
        known = [f"{t}/{k}" for t, values in results.items() for k in values]
        raise ValueError(f"metric={name} is not among the results: {', '.join(known)}") from None


def _check_run_dir(run_dir: Path, resume: bool) -> None:
    """Keep two runs out of one folder, and a resume out of an empty one."""
    has_checkpoint = (run_dir / "last_checkpoint").is_file()
    if has_checkpoint and not resume:
        raise ValueError(
            f"{run_dir} holds a run already: go on with it by resume=true, or leave run_dir to the "
            "default, a new folder"
        )
    if resume and not has_checkpoint:
        raise ValueError(f"resume=true, but {run_dir} holds no checkpoint: give run_dir=<the run>")


def _describe(cfg: CfgNode, settings: Settings) -> dict[str, Any]:
    return {
        "name": settings.name,
        "question": settings.question,
        "classes": list(settings.classes),
        "seed": cfg.SEED,
        "data": {dataset.name: fingerprint(dataset) for dataset in settings.datasets},
        **provenance.describe(),
    }


def _wandb(cfg: CfgNode, settings: Settings, record: dict[str, Any]) -> list[EventWriter]:
    if not settings.wandb:
        return []
    config = {"run": record, "d2": plain(cfg)}
    return [WandbWriter(settings.wandb, config, cfg.OUTPUT_DIR)]
