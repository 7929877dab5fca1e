"""A run's length and learning rate in the units that people think in.

Pure arithmetic on Detectron2's configuration, done once before a process starts. Learning rate and
length follow the batch by the linear rule of Goyal et al. 2017: k times the images in a step, k
times the rate, a kth of the steps.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from oiv5_d2.problems import wrong_setting


@dataclass(frozen=True)
class Schedule:
    """What of Detectron2's configuration depends on the batch and the length.

    Attributes:
        batch: images in a step, of all processes together.
        rate: the learning rate after the warm-up.
        max_iter: steps.
        drops: the steps at which the rate drops; of no effect in a cosine.
        warmup: steps in which the rate rises.
        checkpoint_period: in steps.
        eval_period: in steps; 0 for the last one only.
    """

    batch: int
    rate: float
    max_iter: int
    drops: tuple[int, ...]
    warmup: int
    checkpoint_period: int
    eval_period: int


KEYS = {
    "batch": "SOLVER.IMS_PER_BATCH",
    "rate": "SOLVER.BASE_LR",
    "max_iter": "SOLVER.MAX_ITER",
    "drops": "SOLVER.STEPS",
    "warmup": "SOLVER.WARMUP_ITERS",
    "checkpoint_period": "SOLVER.CHECKPOINT_PERIOD",
    "eval_period": "TEST.EVAL_PERIOD",
}


def read_schedule(cfg: Any) -> Schedule:
    """Return the schedule in a Detectron2 configuration."""
    found = {field: reduce(getattr, key.split("."), cfg) for field, key in KEYS.items()}
    return Schedule(**found)


def check_length(epochs: float, hours: float, reference_batch: int, every: float) -> None:
    """Refuse lengths without meaning, and two at once.

    Raises:
        Problem: SETTING.
    """
    for name, value in {
        "epochs": epochs,
        "hours": hours,
        "reference_batch": reference_batch,
        "evaluate_every": every,
    }.items():
        if value < 0:
            raise wrong_setting(f"trainer.{name}", value, "below 0; 0 is for none")
    if epochs and hours:
        detail, change = f"trainer.epochs={epochs:g} is another length", "trainer.hours=0"
        raise wrong_setting("trainer.hours", hours, detail, change=f"{change} trainer.epochs=0")


def follow_batch(schedule: Schedule, reference_batch: int) -> Schedule:
    """Return the schedule for its batch, where its numbers were chosen for another one.

    Rate, steps and periods keep what they are in images.

    Args:
        schedule: with numbers for a batch of `reference_batch`.
        reference_batch: above 0.
    """
    factor = schedule.batch / reference_batch
    return replace(
        stretch(schedule, _scaled(schedule.max_iter, 1 / factor)),
        rate=schedule.rate * factor,
        checkpoint_period=_scaled(schedule.checkpoint_period, 1 / factor),
        eval_period=_scaled(schedule.eval_period, 1 / factor),
    )


def stretch(schedule: Schedule, max_iter: int) -> Schedule:
    """Return a schedule of the same shape that has another number of steps, at least 1."""
    factor = max_iter / schedule.max_iter
    return replace(
        schedule,
        max_iter=max_iter,
        drops=tuple(_scaled(step, factor) for step in schedule.drops),
        warmup=_scaled(schedule.warmup, factor),
    )


def count_steps(epochs: float, num_images: int, batch: int) -> int:
    """Return the steps that so many passes over the training images take, at least 1."""
    return max(1, -(-round(epochs * num_images) // batch))


def fit_steps(hours: float, seconds_per_step: float) -> int:
    """Return the steps that fit into a time budget, at least 1."""
    return max(1, int(hours * 3600 / seconds_per_step))


def describe(before: Schedule, now: Schedule) -> str:
    """Return in a line which keys have other values now; empty if none has."""
    pairs = {key: (getattr(before, field), getattr(now, field)) for field, key in KEYS.items()}
    return ", ".join(f"{key} {_word(b)} -> {_word(n)}" for key, (b, n) in pairs.items() if b != n)


def _scaled(steps: int, factor: float) -> int:
    return max(1, round(steps * factor)) if steps else 0


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")
