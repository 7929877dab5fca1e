"""When the model is evaluated, and which evaluation was the best."""

import logging
import math
from typing import Any

from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from oiv5_d2.runs.metrics import is_loss, look_up
from oiv5_d2.training.hooks.early_stop import count_without_gain

logger = logging.getLogger(__name__)


class Evaluate(HookBase):  # type: ignore[misc]
    """Evaluate every `period` steps and after the last one; keep the best checkpoint; end early.

    An evaluation that a stop cut off is made up for when the run is resumed.

    Args:
        period: in steps; 0 for the last one only.
        metric: ``<task>/<name>``; its history goes into the checkpoints.
        is_first: evaluate before the first step, too: what the pretrained weights can do.
        patience: after so many evaluations without a gain the run has made its last step; 0 to
            make all steps.
        min_gain: by how much the metric has to become better than the best before.
    """

    def __init__(
        self,
        period: int,
        metric: str,
        is_first: bool = False,
        patience: int = 0,
        min_gain: float = 0.0,
    ) -> None:
        self._period, self._metric, self._is_first = period, metric, is_first
        self._patience, self._min_gain = patience, min_gain
        self._sign = -1 if is_loss(metric) else 1
        self._history: dict[int, float] = {}

    @property
    def history(self) -> dict[int, float]:
        """The metric by step, NaN where there was nothing to measure; the same in all processes."""
        return self._history

    def before_train(self) -> None:
        """Evaluate the checkpoint that was resumed, if that is still to be done, or the start."""
        step = self.trainer.start_iter - 1
        if step < 0 and self._is_first and self.trainer.cfg.DATASETS.TEST:
            self._record(self.trainer.evaluate(), step=0)
        if self._is_over():
            self.trainer.max_iter = step + 1
        is_last = step + 1 >= self.trainer.max_iter  # then nobody has the results any more
        if step >= 0 and self._is_due(step) and (is_last or step not in self._history):
            self.trainer.iter = step
            self._evaluate(step)

    def after_step(self) -> None:
        """Evaluate if it is time; all processes take part."""
        if self._is_due(self.trainer.iter):
            self._evaluate(self.trainer.iter)

    def state_dict(self) -> dict[str, Any]:
        """Return the metric by step."""
        return {"history": dict(self._history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._history = dict(state["history"])

    def _is_over(self) -> bool:
        values = [self._sign * self._history[step] for step in sorted(self._history)]
        return 0 < self._patience <= count_without_gain(values, self._min_gain)

    def _is_due(self, step: int) -> bool:
        done = step + 1
        is_last = done >= self.trainer.max_iter
        return is_last or (self._period > 0 and done % self._period == 0)

    def _evaluate(self, step: int) -> None:
        if not self.trainer.cfg.DATASETS.TEST:
            return
        results = self.trainer.evaluate()
        self._record(results, step)
        # Results are on the main process only, but the others decide with it.
        value = comm.all_gather(look_up(results, self._metric) if results else math.nan)[0]
        values = (self._sign * value for value in self._history.values())
        best = max((one for one in values if not math.isnan(one)), default=-math.inf)
        self._history[step] = value
        if self._is_over():
            self.trainer.max_iter = step + 1
        is_best = self._sign * value > best
        beside = ", the best so far" if is_best else f", best {self._sign * best:.4g}"
        if math.isfinite(value):
            logger.info("Step %s: %s %.4g%s", f"{step + 1:,}", self._metric, value, beside)
        self.trainer.save(is_best=is_best)

    def _record(self, results: dict[str, Any], step: int) -> None:
        self.trainer.storage.iter = step
        numbers = flatten_results_dict(results)
        self.trainer.storage.put_scalars(**numbers, smoothing_hint=False)
