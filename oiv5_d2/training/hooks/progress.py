"""How far a run is, for whoever watches."""

import sys
import time
from collections import deque
from contextlib import ExitStack

import psutil
import torch
from detectron2.engine import HookBase

from oiv5_d2.jobs import Show

WINDOW = 20  # steps that loss and speed are taken over


class ReportSteps(HookBase):  # type: ignore[misc]
    """Tell how many steps are made, the loss, the speed, the learning rate and the memory.

    Args:
        show: shows it.
        batch_size: images of a step, of all processes together.
    """

    def __init__(self, show: Show, batch_size: int) -> None:
        self._show, self._batch_size = show, batch_size
        self._shown = ExitStack()
        self._seconds: deque[float] = deque(maxlen=WINDOW)

    def before_train(self) -> None:
        """Show the run from its first step on."""
        first = self.trainer.start_iter
        job = self._show("Training", {"steps": self.trainer.max_iter}, first)
        self._advance = self._shown.enter_context(job)

    def before_step(self) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def after_step(self) -> None:
        """Report the step."""
        self._seconds.append(time.perf_counter() - self._begin)
        self._advance(1, 0, 0, self._describe())

    def after_train(self) -> None:
        """Show no more; what shows the run sees the error that ended it, if one did."""
        self._shown.__exit__(*sys.exc_info())

    def _describe(self) -> str:
        storage = self.trainer.storage
        speed = self._batch_size * len(self._seconds) / sum(self._seconds)
        rate = storage.history("lr").latest()
        loss = storage.history("total_loss").median(WINDOW)
        memory = f"memory {_used_memory() / 1e9:.1f} GB"
        return f"loss {loss:.3f}, {speed:.1f} images/s, rate {rate:.2g}, {memory}"


def _used_memory() -> int:
    """Return the most bytes that this process had on its GPU, or has in the machine's memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return int(psutil.Process().memory_info().rss)
