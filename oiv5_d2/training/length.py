"""How long a run is: the frozen configuration, with the steps that our settings ask for.

A time budget becomes a number of steps once, before the first one: some steps are rehearsed and
timed. The number is in every checkpoint and stays, so that a run with a budget is, to the bit, the
run with that number of steps, however often it is resumed. Only the number depends on the machine.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, EventWriter

from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.training import schedule
from oiv5_d2.training.checkpoints import newest_whole, read
from oiv5_d2.training.config import merge
from oiv5_d2.training.data.records import Records, part_of
from oiv5_d2.training.schedule import KEYS, Schedule, read_schedule
from oiv5_d2.training.trainer import Trainer

logger = logging.getLogger(__name__)

FIRST, TIMED = 5, 25  # steps of a rehearsal


class Budget(NamedTuple):
    """A time budget, and the steps that were found to fit into it."""

    hours: float
    max_iter: int


class Rehearsal(Trainer):
    """A trainer that writes nothing."""

    def build_writers(self) -> list[EventWriter]:
        """Return no writer."""
        return []

    def rehearse(self, num_steps: int, num_first: int) -> float:
        """Make steps that count for nothing; return how many seconds one takes, in any process.

        The trainer is of no use afterwards.

        Args:
            num_steps: that are timed.
            num_first: made before those, as the first ones take longer.
        """
        self._trainer.accumulate = self.count_micro_batches()
        with EventStorage():
            for number in range(num_first + num_steps):
                if number == num_first:
                    start = time.perf_counter()
                self._trainer.run_step()
        seconds = (time.perf_counter() - start) / num_steps
        self.data_loader.close()
        slowest: float = max(comm.all_gather(seconds))
        return slowest


def measure_budget(rehearsal: Rehearsal, hours: float) -> Budget:
    """Return how many steps fit into a time budget here, the same number in all processes.

    Evaluations are not part of it. The trainer is of no use afterwards.
    """
    seconds = rehearsal.rehearse(TIMED, FIRST)
    found = Budget(hours, schedule.fit_steps(hours, seconds))
    logger.info("trainer.hours=%g: %d steps of %.3f s", *found, seconds)
    return found


def find_budget(run_dir: Path, hours: float) -> Budget | None:
    """Return the budget in a run's newest checkpoint; None without a checkpoint.

    Other hours than the run had until now have steps in proportion.
    """
    found = newest_whole(run_dir, warns=False)
    former = read(found.path, lazily=True)["run"].get("budget") if found else None
    return former and Budget(hours, max(1, round(former["max_iter"] * hours / former["hours"])))


def within(cfg: CfgNode, budget: Budget) -> CfgNode:
    """Return the configuration with the steps of a budget."""
    return with_schedule(cfg, schedule.stretch(read_schedule(cfg), budget.max_iter))


def with_length(
    cfg: CfgNode,
    datasets: Iterable[Prepared],
    reference_batch: int,
    epochs: float,
    every: float,
    share: float,
) -> CfgNode:
    """Return the configuration for its batch and for lengths in epochs; say what that changes.

    Args:
        cfg: frozen.
        datasets: prepared, those of ``DATASETS.TRAIN`` among them.
        reference_batch: for which the numbers in ``SOLVER`` were chosen; 0 for its own batch.
        epochs: passes over the training images; 0 to leave the steps as they are.
        every: passes between two evaluations and two checkpoints; 0 to leave the periods.
        share: of the images to train on.
    """
    before = now = read_schedule(cfg)
    if reference_batch:
        now = schedule.follow_batch(now, reference_batch)
    num_images = count_images(cfg, datasets, share) if epochs or every else 0
    if epochs:
        now = schedule.stretch(now, schedule.count_steps(epochs, num_images, now.batch))
    if every:
        period = schedule.count_steps(every, num_images, now.batch)
        now = replace(now, checkpoint_period=period, eval_period=period)
    if changes := schedule.describe(before, now):
        why = {"reference_batch": reference_batch, "epochs": epochs, "evaluate_every": every}
        reasons = ", ".join(f"trainer.{name}={value:g}" for name, value in why.items() if value)
        logger.info("%s: %s", reasons, changes)
    return with_schedule(cfg, now)


def with_schedule(cfg: CfgNode, now: Schedule) -> CfgNode:
    """Return a frozen copy of the configuration that has a schedule."""
    cfg = cfg.clone()
    cfg.defrost()
    for field, key in KEYS.items():
        merge(cfg, key, getattr(now, field))
    cfg.freeze()
    return cfg


def count_images(cfg: CfgNode, datasets: Iterable[Prepared], share: float) -> int:
    """Return how many images ``DATASETS.TRAIN`` has to train on, at least 1."""
    used = [one for one in datasets if one.name in cfg.DATASETS.TRAIN]
    boxes = cfg.ANNOTATION.boxes if "ANNOTATION" in cfg else None
    records = Records([part_of(one) for one in used], boxes)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        records = records.with_targets()
    return max(1, round(share * len(records)))
