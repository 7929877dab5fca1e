"""Ending a run when its evaluations gain nothing more."""

import math
from collections.abc import Iterable

from detectron2.config import CfgNode
from detectron2.engine import HookBase

from oiv5_d2.problems import wrong_setting


class EndedEarly(SystemExit):
    """The run has made its last step before ``SOLVER.MAX_ITER``; it is no error, and has code 0."""

    def __init__(self) -> None:
        super().__init__(0)


def check_early_stop(patience: int, min_gain: float, cfg: CfgNode, every: float = 0.0) -> None:
    """Refuse an early stop without meaning, or without the evaluations that decide it.

    Args:
        patience: evaluations without a gain.
        min_gain: how much is one.
        cfg: frozen.
        every: passes over the images between two evaluations; 0 for ``TEST.EVAL_PERIOD``.

    Raises:
        Problem: SETTING.
    """
    if patience < 0 or min_gain < 0:
        key, value = ("early_stop", patience) if patience < 0 else ("min_gain", min_gain)
        raise wrong_setting(f"trainer.{key}", value, "below 0")
    if patience and not (cfg.DATASETS.TEST and (every or cfg.TEST.EVAL_PERIOD)):
        detail = "nothing is evaluated before the last step"
        change = "trainer.evaluate_every d2.TEST.EVAL_PERIOD d2.DATASETS.TEST trainer.early_stop=0"
        raise wrong_setting("trainer.early_stop", patience, detail, change=change)


def count_without_gain(values: Iterable[float], min_gain: float) -> int:
    """Return how many of the last values in a row gained too little on the best before them.

    Args:
        values: higher is better; NaN is no gain.
        min_gain: what a value has to exceed the best by.
    """
    best, count = -math.inf, 0
    for value in values:
        best, count = (value, 0) if value > best + min_gain else (best, count + 1)
    return count


class EndEarly(HookBase):  # type: ignore[misc]
    """Leave the loop of steps when another hook has lowered the trainer's ``max_iter``.

    It comes last, when all that is done after the last step has been done.
    """

    def before_train(self) -> None:
        """End a resumed run that had already made its last step.

        Raises:
            EndedEarly: so.
        """
        self._end_after(self.trainer.start_iter)

    def after_step(self) -> None:
        """End the run after its last step.

        Raises:
            EndedEarly: so.
        """
        self._end_after(self.trainer.iter + 1)

    def _end_after(self, done: int) -> None:
        if self.trainer.max_iter <= done < self.trainer.cfg.SOLVER.MAX_ITER:
            self.trainer.iter = done  # as after a loop that came to its end
            raise EndedEarly
