"""A trial of a sweep tells its study how it is doing, and ends when others did better."""

import math
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm

from oiv5_d2.training.hooks.evaluation import Evaluate


class Prune(HookBase):  # type: ignore[misc]
    """Report each evaluation; if the study's pruner says so, let the step be the run's last one.

    It comes after the evaluation. A pruned run ends as one that has made all its steps: with its
    final checkpoint and its record.

    Args:
        evaluation: what is reported.
    """

    def __init__(self, evaluation: Evaluate) -> None:
        self._evaluation = evaluation
        self._reported: set[int] = set()

    def before_train(self) -> None:
        """Report what a resumed run had evaluated, and end it if that was its last evaluation."""
        if comm.is_main_process():
            from oiv5_d2.runs.study import Reports  # here: only trials need Optuna

            self._reports = Reports(Path(self.trainer.cfg.OUTPUT_DIR))
        if self._report(self.trainer.start_iter - 1):
            self.trainer.evaluate()  # its results were lost with the process that had them

    def after_step(self) -> None:
        """Report an evaluation of this step."""
        self._report(self.trainer.iter)

    def _report(self, step: int) -> bool:
        """Report what is new; return True if that ends the run at this step."""
        is_over = comm.is_main_process() and self._is_over(step)
        if not comm.all_gather(is_over)[0] or step + 1 >= self.trainer.max_iter:
            return False
        self.trainer.iter, self.trainer.max_iter = step, step + 1
        self.trainer.save()  # as the last step's
        return True

    def _is_over(self, now: int) -> bool:
        history = self._evaluation.history
        new = {step: value for step, value in history.items() if step not in self._reported}
        self._reported.update(new)
        ends = [
            self._reports.report(step, value)
            for step, value in sorted(new.items())
            if not math.isnan(value)
        ]
        return now in new and any(ends[-1:])
