"""When a checkpoint is written."""

from detectron2.engine import HookBase


class SaveCheckpoints(HookBase):  # type: ignore[misc]
    """Save every `period` steps and after the last one."""

    def __init__(self, period: int) -> None:
        self._period = period

    def after_step(self) -> None:
        """Save if it is time; all processes take part."""
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            self.trainer.save()
