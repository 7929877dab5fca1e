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

from oiv5_d2.problems import Kind, Problem, Remedy
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
        question: the question that it answers.
        classes: display names, in the order of their category ids.
        datasets: the prepared data sets of ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        resume: continue from the run directory's last checkpoint.
        wandb: keyword arguments of ``wandb.init``; empty for none.
    """

    name: str
    question: str
    classes: tuple[str, ...]
    datasets: tuple[Prepared, ...]
    resume: bool
    wandb: dict[str, Any]


def train(cfg: CfgNode, settings: Settings, build_evaluator: BuildEvaluator) -> dict[str, Any]:
    """Train and evaluate one model in this process.

    Args:
        cfg: the frozen configuration.
        settings: the rest.
        build_evaluator: makes the evaluator of one data set.

    Returns:
        The last evaluation, ``{"bbox": {"AP": ...}, "segm": {...}}``; empty in all processes but
        the main one.

    Raises:
        Problem: SETTING, a configuration that cannot train or a run directory that holds another
            run; ABSENT, no checkpoint to resume from; or those of weights and data.
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
    """Return one number of ``results`` by ``<task>/<name>``, such as ``segm/AP``.

    Raises:
        Problem: SETTING, there is no such number.
    """
    task, _, key = name.partition("/")
    try:
        return float(results[task][key])
    except KeyError:
        known = ", ".join(f"{t}/{k}" for t, values in results.items() for k in values)
        detail, remedy = f"the results have {known}", Remedy.CHANGE_SETTING
        raise Problem(Kind.SETTING, f"metric={name}", detail, key="metric", remedy=remedy) from None


def gpu_names() -> list[str]:
    """Return the names of the GPUs that PyTorch finds here."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _check_run_dir(run_dir: Path, resume: bool) -> None:
    """Refuse a second run in one folder, and resuming in a folder without a checkpoint."""
    checkpoint_path = run_dir / "last_checkpoint"
    remedy = Remedy.CHANGE_SETTING
    if checkpoint_path.is_file() and not resume:
        detail = "the folder already has a run"
        raise Problem(
            Kind.SETTING, f"run_dir={run_dir}", detail, key="run_dir resume=true", remedy=remedy
        )
    if resume and not checkpoint_path.is_file():
        detail = "nothing to resume from"
        raise Problem(Kind.ABSENT, checkpoint_path, detail, key="run_dir resume", remedy=remedy)


def _describe(cfg: CfgNode, settings: Settings) -> dict[str, Any]:
    return {
        "name": settings.name,
        "question": settings.question,
        "classes": list(settings.classes),
        "seed": cfg.SEED,
        "data": {dataset.name: fingerprint(dataset) for dataset in settings.datasets},
        **provenance.describe(gpu_names()),
    }


def _wandb(cfg: CfgNode, settings: Settings, record: dict[str, Any]) -> list[EventWriter]:
    if not settings.wandb:
        return []
    config = {"run": record, "d2": plain(cfg)}
    return [WandbWriter(settings.wandb, config, cfg.OUTPUT_DIR)]
