"""Ending a run early: Ctrl-C, SIGTERM, and Slurm's SIGUSR1 before its time limit."""

import signal
from types import FrameType
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm

from oiv5_d2.problems import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopOnSignal(HookBase):  # type: ignore[misc]
    """Let the current step end, save a checkpoint, and stop. All processes stop at the same step.

    A second Ctrl-C stops at once; with several processes, their launcher sees to that.
    """

    def __init__(self) -> None:
        self._signal = 0
        self._former: dict[signal.Signals, Any] = {}

    def before_train(self) -> None:
        """Take over the signals."""
        self._former = {one: signal.signal(one, self._note) for one in SIGNALS}

    def after_step(self) -> None:
        """Stop if any process was told to; the last step ends the run by itself.

        Raises:
            Stopped: a checkpoint of this step is on disk.
        """
        number = max(comm.all_gather(self._signal))
        if number and self.trainer.iter + 1 < self.trainer.max_iter:
            self.trainer.save()
            raise Stopped(number, self.trainer.cfg.OUTPUT_DIR, self.trainer.iter + 1)

    def after_train(self) -> None:
        """Give the signals back."""
        for one, handler in self._former.items():
            signal.signal(one, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        again = self._signal == number == signal.SIGINT and comm.get_world_size() == 1
        self._signal = number
        # While the model is evaluated, all that there is to save is on disk already.
        if again or (self.trainer.evaluations.is_running and comm.get_world_size() == 1):
            raise Stopped(number, self.trainer.cfg.OUTPUT_DIR, self.trainer.last_saved + 1)
