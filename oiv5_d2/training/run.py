"""One training run, from a frozen configuration to its results.

`train` is called once, here; `work` in every process. What can be refused is refused in `train`,
before a process starts. Where others start the processes, or on several machines, all of them call
`train_together`.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventWriter

from oiv5_d2.files import naming_full_disk, whole_file
from oiv5_d2.jobs import OpenScreen, Show, no_screen, unseen
from oiv5_d2.runs import layout, provenance
from oiv5_d2.runs.metrics import look_up
from oiv5_d2.runs.packed import open_packed
from oiv5_d2.runs.prepared import check_classes, check_files, check_truth
from oiv5_d2.runs.privacy import public
from oiv5_d2.training.catalog import register
from oiv5_d2.training.checkpoints import newest_whole
from oiv5_d2.training.config import check, plain
from oiv5_d2.training.evaluations import BuildEvaluator
from oiv5_d2.training.features import ROLLBACK, check_features
from oiv5_d2.training.group import is_restarted, share
from oiv5_d2.training.hooks.divergence import Diverged
from oiv5_d2.training.job import (
    Job,
    Settings,
    announce,
    check_follows,
    check_run_dir,
    prepare,
)
from oiv5_d2.training.launch import launch
from oiv5_d2.training.length import Rehearsal, find_budget, measure_budget, with_length, within
from oiv5_d2.training.logs import describe_environment, logged
from oiv5_d2.training.trainer import Trainer
from oiv5_d2.training.weights import load_pretrained
from oiv5_d2.training.writers.service import Connection
from oiv5_d2.training.writers.settings import About, init_arguments, read_send
from oiv5_d2.training.writers.wandb_writer import WandbWriter

logger = logging.getLogger(__name__)

AnyTrainer = TypeVar("AnyTrainer", bound=Trainer)

ROLLBACKS = 3  # after so many, a run that diverges stops all the same
LOWER = 0.5  # what the learning rate is multiplied by at each


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
    start = settings.launch
    start.check()
    check(cfg, cuda_available, start.num_processes)
    for dataset in settings.datasets:
        check_classes(dataset.json_path, settings.classes)
        check_files(dataset, open_packed(dataset.json_path).images())
        if dataset.name in cfg.DATASETS.TEST:
            check_truth(dataset, "d2.DATASETS.TEST")
    read_send(settings.wandb)
    classes, datasets, num_processes = settings.classes, settings.datasets, start.num_processes
    wanted = check_features(settings.features, cfg, classes, datasets, num_processes)
    length = wanted.reference_batch, wanted.epochs, wanted.evaluate_every, wanted.data_share
    return with_length(cfg, datasets, *length), replace(settings, features=wanted)


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
            check_follows(job, cfg, settings)
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
        trainer = _build_trainer(Trainer, job, build_evaluator, show)
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
        found = check_run_dir(run_dir, settings.resume, is_restarted)
        hours = settings.features.hours
        if hours and (budget := find_budget(run_dir, hours)):
            cfg = within(cfg, budget)
        if found and layout.is_finished(run_dir) and found.iteration + 1 >= cfg.SOLVER.MAX_ITER:
            done = f"{run_dir} has its {found.iteration + 1} steps: nothing to do"
            logger.info("%s (d2.SOLVER.MAX_ITER=%d)", done, cfg.SOLVER.MAX_ITER)
            yield None
            return
        job = prepare(cfg, settings, found)
        with logged(run_dir):  # a run that is refused leaves no trace
            provenance.write(run_dir, job.record)
            layout.write_notes(run_dir, settings.notes)
            announce(job, found)
            yield job


def _finish(job: Job, outcome: dict[str, Any]) -> None:
    provenance.write(Path(job.cfg.OUTPUT_DIR), {**job.record, **outcome})


def set_up(cfg: CfgNode) -> None:
    """Do what Detectron2's ``default_setup`` does, without showing its hundreds of lines."""
    if comm.is_main_process():
        with whole_file(Path(cfg.OUTPUT_DIR) / layout.CONFIG_YAML) as temporary:
            temporary.write_text(cfg.dump())
        logger.debug("Environment:\n%s", describe_environment())
        logger.debug("The whole configuration is in %s", layout.CONFIG_YAML)
    seed_all_rng(cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


def _budgeted(job: Job, build_evaluator: BuildEvaluator) -> Job:
    """Return the job with the steps that fit into its hours, which every checkpoint will have."""
    run_dir, hours = Path(job.cfg.OUTPUT_DIR), job.settings.features.hours
    here = find_budget(run_dir, hours) if comm.is_main_process() else None
    budget = comm.all_gather(here)[0]
    if budget is None:
        rehearsal = _build_trainer(Rehearsal, job, build_evaluator, unseen)
        budget = measure_budget(rehearsal, hours)
        seed_all_rng(job.cfg.SEED + comm.get_rank())  # as if there had been no rehearsal
    cfg = within(job.cfg, budget)
    if comm.is_main_process():
        with whole_file(run_dir / layout.CONFIG_YAML) as temporary:
            temporary.write_text(cfg.dump())
    identity = {**job.identity, "config": cfg.dump(), "budget": budget._asdict()}
    return replace(job, cfg=cfg, identity=identity)


def _build_trainer(
    kind: type[AnyTrainer], job: Job, build_evaluator: BuildEvaluator, show: Show
) -> AnyTrainer:
    """Return a trainer at the newest checkpoint, or with the weights that a run starts from."""
    writers = partial(_wandb, job)
    features, identity = job.settings.features, job.identity
    trainer = kind(job.cfg, build_evaluator, writers, features, identity, show)
    run_dir = Path(job.cfg.OUTPUT_DIR)
    here = newest_whole(run_dir, warns=False) if comm.is_main_process() else None
    if found := comm.all_gather(here)[0]:
        trainer.resume(found.path)
    else:
        carried = job.settings.classes if job.settings.features.carry_classes else ()
        load_pretrained(trainer.model, job.cfg.MODEL.WEIGHTS, carried)
    return trainer


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
    return [WandbWriter(Connection(arguments, send), about, send)]
