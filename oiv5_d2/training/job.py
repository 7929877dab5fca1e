"""What a run is: checked once, recorded in its folder, and the same for every process."""

import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs import layout, provenance
from oiv5_d2.runs.prepared import Prepared, fingerprint
from oiv5_d2.training.checkpoints import Found, newest_whole, read
from oiv5_d2.training.compat import has_compiled_ops
from oiv5_d2.training.features import Features
from oiv5_d2.training.launch import Launch
from oiv5_d2.training.resume import compare, identify

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a run needs beside Detectron2's configuration.

    Attributes:
        name: the experiment's name.
        question: the question that it answers.
        classes: display names, in the order of their category ids.
        datasets: the prepared data sets of ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        resume: continue from the newest whole checkpoint of the run directory.
        wandb: ``logger`` in the configs: keyword arguments of ``wandb.init``, and ``send``; empty
            for no W&B.
        launch: how processes start.
        features: of the trainer.
        composed: all of the configs, to be shown at W&B.
        notes: what `layout.write_notes` takes.
    """

    name: str
    question: str
    classes: tuple[str, ...]
    datasets: tuple[Prepared, ...]
    resume: bool
    wandb: dict[str, Any]
    launch: Launch
    features: Features
    composed: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """What every process gets: checked, and the same for all."""

    cfg: CfgNode
    settings: Settings
    record: dict[str, Any]
    identity: dict[str, Any]


def gpu_names() -> list[str]:
    """Return the names of the GPUs that PyTorch finds here."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def check_run_dir(run_dir: Path, resume: bool, is_restarted: bool) -> Found | None:
    """Return what is resumed. Refuse a second run in one folder, and resuming where no run is."""
    is_run = (run_dir / layout.RUN_JSON).is_file()
    if is_run and not (resume or is_restarted):
        detail = "the folder already has a run"
        raise wrong_setting("run_dir", run_dir, detail, change="run_dir resume=true")
    found = newest_whole(run_dir)
    if resume and not is_restarted and not is_run and found is None:
        detail, key, remedy = "nothing to resume", "run_dir resume", Remedy.CHANGE_SETTING
        raise Problem(Kind.ABSENT, run_dir / layout.RUN_JSON, detail, key=key, remedy=remedy)
    return found


def check_follows(job: Job, cfg: CfgNode, settings: Settings) -> None:
    """Refuse another command, other data or another disk than the main process has."""
    run_dir = Path(job.cfg.OUTPUT_DIR)
    if comm.get_local_rank() != 0 or comm.is_main_process():
        return
    if not (run_dir / layout.RUN_JSON).is_file():
        detail = "all machines need the run directory of the first on a disk that they share"
        key, remedy = "run_dir", Remedy.CHANGE_SETTING
        raise Problem(Kind.ABSENT, run_dir, detail, key=key, remedy=remedy)
    cfg = _with_seed(cfg, job.cfg.SEED)
    compare(job.identity, _identify(cfg, settings, _fingerprints(settings)), "the first machine")


def prepare(cfg: CfgNode, settings: Settings, found: Found | None) -> Job:
    """Return what all processes get, with the record of this piece of the run."""
    run_dir = Path(cfg.OUTPUT_DIR)
    old = layout.read_record(run_dir) if (run_dir / layout.RUN_JSON).is_file() else {}
    cfg = _with_seed(cfg, old.get("seed"))
    data = _fingerprints(settings)
    identity = _identify(cfg, settings, data)
    changes, former = list(old.get("changes", [])), {}
    if found:
        former = read(found.path, lazily=True)["run"]
        changed = compare(former, identity)
        made = {one.key: [one.before, one.now] for one in changed if one.key != "d2.OUTPUT_DIR"}
        changes += [{"step": found.iteration + 1, **made}] if made else []
    about = provenance.describe(gpu_names(), has_compiled_ops())
    record = {
        "name": settings.name,
        "question": settings.question,
        "classes": list(settings.classes),
        "metric": settings.features.metric,
        "seed": cfg.SEED,
        "data": data,
        **about,
        "commands": [*old.get("commands", []), about["command"]],
        "changes": changes,
    }
    if settings.wandb:
        known = old.get("wandb_id") or former.get("wandb_id")
        record["wandb_id"] = known or secrets.token_hex(4)
        identity["wandb_id"] = record["wandb_id"]
    return Job(cfg, settings, record, identity)


def _fingerprints(settings: Settings) -> dict[str, Any]:
    return {dataset.name: fingerprint(dataset) for dataset in settings.datasets}


def _identify(cfg: CfgNode, settings: Settings, data: dict[str, Any]) -> dict[str, Any]:
    features = settings.features
    trainer: dict[str, Any] = {
        "accumulate": features.accumulate,
        "channels_last": features.channels_last,
        "data_share": features.data_share,
        "ema": features.ema,
        "precision": features.precision,
        "stages": [dict(stage) for stage in features.stages],
    }
    if features.class_weights:
        trainer["class_weights"] = list(features.class_weights)
    return identify(cfg, settings.classes, data, trainer, features.augment)


def _with_seed(cfg: CfgNode, former: int | None) -> CfgNode:
    """Return the configuration with a seed; ``SEED`` below 0 asks for a random one."""
    if cfg.SEED >= 0:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = secrets.randbelow(1 << 31) if former is None else former
    cfg.freeze()
    return cfg


def announce(job: Job, found: Found | None) -> None:
    """Say in two lines what begins."""
    cfg, num_steps = job.cfg, job.cfg.SOLVER.MAX_ITER
    num_images = sum(job.record["data"][name]["num_images"] for name in cfg.DATASETS.TRAIN)
    epochs = num_steps * cfg.SOLVER.IMS_PER_BATCH / max(1, num_images)
    device = ", ".join(job.record["hardware"]["gpus"]) if cfg.MODEL.DEVICE != "cpu" else "the CPU"
    logger.info(
        "%s: %s%s steps of %d images (%.1f epochs of %s) on %s",
        job.settings.name,
        f"from step {found.iteration + 1:,} on, " if found else "",
        f"{num_steps:,}",
        cfg.SOLVER.IMS_PER_BATCH,
        epochs,
        f"{num_images:,}",
        device,
    )
    logger.info("Folder: %s (details in %s)", os.path.relpath(cfg.OUTPUT_DIR), layout.LOG_TXT)
