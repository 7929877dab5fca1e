"""One training run, from a frozen configuration to its results.

`train` is called once, here; `work` in every process. What can be refused is refused in `train`,
before a process starts. Where others start the processes, or on several machines, all of them call
`train_together`.
"""

import logging
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventWriter

from oiv5_d2.files import naming_full_disk, whole_file
from oiv5_d2.jobs import OpenScreen, Show, no_screen, unseen
from oiv5_d2.modeling.class_weights import read_class_weights
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs import layout, provenance
from oiv5_d2.runs.prepared import (
    Prepared,
    check_classes,
    check_files,
    check_truth,
    count_objects,
    fingerprint,
    read_coco,
)
from oiv5_d2.runs.results import EMA, check_metric, look_up
from oiv5_d2.training.catalog import register
from oiv5_d2.training.checkpoints import Found, newest_whole, read
from oiv5_d2.training.compat import has_compiled_ops
from oiv5_d2.training.config import check, plain
from oiv5_d2.training.data.augmentations import build_pipeline
from oiv5_d2.training.data.samplers import check_sampler
from oiv5_d2.training.group import is_restarted, share
from oiv5_d2.training.hooks.divergence import Diverged
from oiv5_d2.training.hooks.early_stop import check_early_stop
from oiv5_d2.training.hooks.stages import check_stages
from oiv5_d2.training.launch import Launch, launch
from oiv5_d2.training.length import Rehearsal, find_budget, measure_budget, with_length, within
from oiv5_d2.training.logs import describe_environment, logged
from oiv5_d2.training.resume import compare, identify
from oiv5_d2.training.schedule import check_length
from oiv5_d2.training.steps import check_accumulate, check_precision
from oiv5_d2.training.trainer import BuildEvaluator, Features, Trainer
from oiv5_d2.training.weights import load_pretrained
from oiv5_d2.training.writers.privacy import public
from oiv5_d2.training.writers.service import Connection
from oiv5_d2.training.writers.settings import About, init_arguments, read_send
from oiv5_d2.training.writers.wandb_writer import WandbWriter

logger = logging.getLogger(__name__)

STOP, ROLLBACK = "stop", "rollback"  # trainer.on_divergence
ROLLBACKS = 3  # after so many, a run that diverges stops all the same
LOWER = 0.5  # what the learning rate is multiplied by at each


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


@dataclass(frozen=True)
class Job:
    """What every process gets: checked, and the same for all."""

    cfg: CfgNode
    settings: Settings
    record: dict[str, Any]
    identity: dict[str, Any]


def train(
    cfg: CfgNode,
    settings: Settings,
    build_evaluator: BuildEvaluator,
    open_screen: OpenScreen = no_screen,
) -> float:
    """Train and evaluate one model; write its record.

    Args:
        cfg: the frozen configuration; ``cfg.OUTPUT_DIR`` is the run directory.
        settings: the rest.
        build_evaluator: makes the evaluator of one data set.
        open_screen: importable by name; called in the main process of those that train.

    Returns:
        The metric; NaN without a data set to evaluate on.

    Raises:
        Problem: SETTING, a configuration that cannot train or a run directory that holds another
            run; ABSENT, nothing to resume; MISMATCH, resuming another run; BUSY; DISK_FULL;
            DIVERGED; or those of weights and data.
        Stopped: by a signal.
    """
    run_dir, start = Path(cfg.OUTPUT_DIR), settings.launch
    cfg, settings = check_run(cfg, settings, torch.cuda.is_available())
    tools = build_evaluator, open_screen
    if not start.is_led_here:
        return float(launch(start, run_dir, train_together, cfg, settings, *tools))
    with _led(cfg, settings, is_restarted()) as job:
        if job:
            _finish(job, launch(start, run_dir, work, job, *tools))
    return look_up(layout.read_record(run_dir)["results"], settings.features.metric)


def check_run(cfg: CfgNode, settings: Settings, cuda_available: bool) -> tuple[CfgNode, Settings]:
    """Return both with what follows from them, having refused what cannot be trained.

    Args:
        cfg: the frozen configuration.
        settings: the rest.
        cuda_available: where the processes will run.

    Raises:
        Problem: SETTING.
    """
    settings.launch.check()
    check(cfg, cuda_available, settings.launch.num_processes)
    settings = _checked(cfg, settings)
    return _with_length(cfg, settings), settings


def train_together(
    cfg: CfgNode, settings: Settings, build_evaluator: BuildEvaluator, open_screen: OpenScreen
) -> float:
    """Do what `train` does in processes that have met: the main one leads, all others follow it.

    Returns:
        The metric, in all.

    Raises:
        Problem: MISMATCH, another command or other data than the main one's; ABSENT, its run
            directory is not on this machine; or those of `train`.
    """
    if comm.is_main_process():
        open_screen()  # before the first line is logged
    again = any(comm.all_gather(is_restarted()))  # of one machine's processes, or of all
    with ExitStack() as held:
        job: Job | None = share(lambda: held.enter_context(_led(cfg, settings, again)))
        if job:
            _check_follows(job, cfg, settings)
            own = replace(job.settings, datasets=settings.datasets)  # where this machine has them
            outcome = work(replace(job, settings=own), build_evaluator, open_screen)
            share(lambda: _finish(job, outcome))
        results = share(lambda: layout.read_record(Path(cfg.OUTPUT_DIR))["results"])
    return look_up(results, settings.features.metric)


def work(job: Job, build_evaluator: BuildEvaluator, open_screen: OpenScreen) -> dict[str, Any]:
    """Train in this process, from the newest checkpoint of the run directory if it has one.

    Returns:
        The record's ``results``, ``seconds`` and ``iterations``.
    """
    show = open_screen() if comm.is_main_process() else unseen
    run_dir = Path(job.cfg.OUTPUT_DIR)
    with logged(run_dir, comm.get_rank()), naming_full_disk(run_dir):
        set_up(job.cfg)
        register(job.settings.datasets, job.settings.classes)
        if job.settings.features.hours:
            job = _budgeted(job, build_evaluator)
        return _train(job, build_evaluator, show)


def _train(job: Job, build_evaluator: BuildEvaluator, show: Show) -> dict[str, Any]:
    rate_factor = math.inf
    for rollbacks in range(ROLLBACKS + 1):
        trainer = _build_trainer(job, build_evaluator, show)
        trainer.lower_rate(min(1.0, rate_factor / trainer.rate_factor))
        try:
            results = trainer.train()
            break
        except Diverged as problem:
            if job.settings.features.on_divergence != ROLLBACK or rollbacks == ROLLBACKS:
                raise
            rate_factor = trainer.rate_factor * LOWER
            logger.warning("%s: back to the newest checkpoint, rate x %g", problem, rate_factor)
    seconds = round(trainer.seconds, 1)
    return {"results": results, "seconds": seconds, "iterations": trainer.iter}


@contextmanager
def _led(cfg: CfgNode, settings: Settings, is_restarted: bool) -> Iterator[Job | None]:
    """Hold the run directory, and write there what the run is; None if it is finished."""
    run_dir = Path(cfg.OUTPUT_DIR)
    with layout.claim(run_dir):
        found = _check_run_dir(run_dir, settings.resume, is_restarted)
        hours = settings.features.hours
        if hours and (budget := find_budget(run_dir, hours)):
            cfg = within(cfg, budget)
        if found and layout.is_finished(run_dir) and found.iteration + 1 >= cfg.SOLVER.MAX_ITER:
            done = f"{run_dir} has its {found.iteration + 1} steps: nothing to do"
            logger.info("%s (d2.SOLVER.MAX_ITER=%d)", done, cfg.SOLVER.MAX_ITER)
            yield None
            return
        job = _prepare(cfg, settings, found)
        with logged(run_dir):  # a run that is refused leaves no trace
            provenance.write(run_dir, job.record)
            _announce(job, found)
            yield job


def _finish(job: Job, outcome: dict[str, Any]) -> None:
    provenance.write(Path(job.cfg.OUTPUT_DIR), {**job.record, **outcome})


def _check_follows(job: Job, cfg: CfgNode, settings: Settings) -> None:
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


def set_up(cfg: CfgNode) -> None:
    """Do what Detectron2's ``default_setup`` does, without showing its hundreds of lines."""
    if comm.is_main_process():
        with whole_file(Path(cfg.OUTPUT_DIR) / layout.CONFIG_YAML) as temporary:
            temporary.write_text(cfg.dump())
        logger.debug("Environment:\n%s", describe_environment())
        logger.debug("The whole configuration is in %s", layout.CONFIG_YAML)
    seed_all_rng(cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


def gpu_names() -> list[str]:
    """Return the names of the GPUs that PyTorch finds here."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _budgeted(job: Job, build_evaluator: BuildEvaluator) -> Job:
    """Return the job with the steps that fit into its hours, which every checkpoint will have."""
    run_dir, hours = Path(job.cfg.OUTPUT_DIR), job.settings.features.hours
    here = find_budget(run_dir, hours) if comm.is_main_process() else None
    budget = comm.all_gather(here)[0]
    if budget is None:
        budget = measure_budget(_build_trainer(job, build_evaluator, unseen, Rehearsal), hours)
        seed_all_rng(job.cfg.SEED + comm.get_rank())  # as if there had been no rehearsal
    cfg = within(job.cfg, budget)
    if comm.is_main_process():
        with whole_file(run_dir / layout.CONFIG_YAML) as temporary:
            temporary.write_text(cfg.dump())
    identity = {**job.identity, "config": cfg.dump(), "budget": budget._asdict()}
    return replace(job, cfg=cfg, identity=identity)


def _build_trainer(
    job: Job, build_evaluator: BuildEvaluator, show: Show, kind: type[Trainer] = Trainer
) -> Trainer:
    """Return a trainer at the newest checkpoint, or with the weights that a run starts from."""
    writers = partial(_wandb, job)
    features, identity = job.settings.features, job.identity
    trainer = kind(job.cfg, build_evaluator, writers, features, identity, show)
    here = newest_whole(Path(job.cfg.OUTPUT_DIR)) if comm.is_main_process() else None
    if found := comm.all_gather(here)[0]:
        trainer.resume(found.path)
    else:
        carried = job.settings.classes if job.settings.features.carry_classes else ()
        load_pretrained(trainer.model, job.cfg.MODEL.WEIGHTS, carried)
    return trainer


def _checked(cfg: CfgNode, settings: Settings) -> Settings:
    """Return the settings with the metric that the model has; refuse what cannot be trained."""
    features = settings.features
    check_precision(features.precision, cfg.MODEL.DEVICE)
    batch = cfg.SOLVER.IMS_PER_BATCH // settings.launch.num_processes
    check_accumulate(features.accumulate, batch, cfg.MODEL.DEVICE)
    check_length(features.epochs, features.hours, features.reference_batch)
    check_sampler(cfg.DATALOADER.SAMPLER_TRAIN)
    build_pipeline(cfg, features.augment)  # which refuses what it cannot build
    check_stages(features.stages, bool(cfg.MODEL.WEIGHTS))
    if features.on_divergence not in (STOP, ROLLBACK):
        detail = f"there are {STOP}, {ROLLBACK}"
        raise wrong_setting("trainer.on_divergence", features.on_divergence, detail)
    for dataset in settings.datasets:
        check_classes(dataset.json_path, settings.classes)
        check_files(dataset, read_coco(dataset.json_path)["images"])
        if dataset.name in cfg.DATASETS.TEST:
            check_truth(dataset, "d2.DATASETS.TEST")
    if not 0 <= features.ema < 1:
        raise wrong_setting("trainer.ema", features.ema, "a decay is at least 0 and below 1")
    if features.average_last < 0 or features.average_last == 1:
        detail = "0 for none, otherwise 2 or more checkpoints"
        raise wrong_setting("trainer.average_last", features.average_last, detail)
    read_send(settings.wandb)
    check_early_stop(features.early_stop, features.min_gain, cfg)
    averages = [EMA] if features.ema else []
    metric = check_metric(
        features.metric, settings.classes, cfg.MODEL.MASK_ON, averages, features.validation_loss
    )
    used = [one for one in settings.datasets if one.name in cfg.DATASETS.TRAIN]
    weights = read_class_weights(features.class_weights or None, count_objects(used))
    return replace(settings, features=replace(features, metric=metric, class_weights=weights))


def _with_length(cfg: CfgNode, settings: Settings) -> CfgNode:
    """Return the configuration with the steps and the rate that the settings ask for."""
    wanted = settings.features
    return with_length(
        cfg, settings.datasets, wanted.reference_batch, wanted.epochs, wanted.data_share
    )


def _check_run_dir(run_dir: Path, resume: bool, is_restarted: bool) -> Found | None:
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


def _prepare(cfg: CfgNode, settings: Settings, found: Found | None) -> Job:
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
    fixed: dict[str, Any] = {
        "data_share": features.data_share,
        "precision": features.precision,
        "stages": [dict(stage) for stage in features.stages],
    }
    if features.class_weights:
        fixed["class_weights"] = list(features.class_weights)
    return identify(cfg, settings.classes, data, fixed, features.augment)


def _with_seed(cfg: CfgNode, former: int | None) -> CfgNode:
    """Return the configuration with a seed; ``SEED`` below 0 asks for a random one."""
    if cfg.SEED >= 0:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = secrets.randbelow(1 << 31) if former is None else former
    cfg.freeze()
    return cfg


def _announce(job: Job, found: Found | None) -> None:
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


def _wandb(job: Job) -> list[EventWriter]:
    if not job.settings.wandb:
        return []
    cfg, settings, run_dir = job.cfg, job.settings, Path(job.cfg.OUTPUT_DIR)
    send = read_send(settings.wandb)
    config = public({**settings.composed, "run": job.record, "d2": plain(cfg)}, send.machine)
    arguments = init_arguments(settings.wandb, job.record, config, run_dir)
    by_name = {dataset.name: dataset for dataset in settings.datasets}
    about = About(
        run_dir=run_dir,
        classes=settings.classes,
        train=[by_name[name] for name in cfg.DATASETS.TRAIN],
        tested=[by_name[name] for name in cfg.DATASETS.TEST],
        metric=settings.features.metric,
        config=config,
    )
    return [WandbWriter(Connection(arguments, send.machine), about, send)]
