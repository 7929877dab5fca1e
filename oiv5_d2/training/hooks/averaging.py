"""Averages of the weights, evaluated beside the weights themselves."""

from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm

from oiv5_d2.runs.metrics import MEAN
from oiv5_d2.training.averages import Weights, blend, mean_of, snapshot
from oiv5_d2.training.checkpoints import due_steps, numbered


def warmed_up(decay: float, step: int) -> float:
    """Return the decay of a step: small at first, so that the random start is soon forgotten.

    As TensorFlow's ``ExponentialMovingAverage`` does with ``num_updates``.

    Args:
        decay: what it rises to, below 1.
        step: counted from 0.
    """
    return min(decay, (1 + step) / (10 + step))


class MovingAverage(HookBase):  # type: ignore[misc]
    """Keep an exponential moving average of the weights (Polyak and Juditsky, 1992).

    It is in every checkpoint, beside the weights, and a file of its own when the run ends.

    Args:
        decay: share of the average that a step keeps, above 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self.weights: Weights = {}

    def before_train(self) -> None:
        """Start from the first weights, unless a checkpoint was resumed."""
        self.weights = self.weights or snapshot(self.trainer.checkpointer.model)

    def after_step(self) -> None:
        """Take the new weights in."""
        decay = warmed_up(self._decay, self.trainer.iter)
        blend(self.weights, self.trainer.checkpointer.model, decay)

    def state_dict(self) -> dict[str, Any]:
        """Return the average; nothing before the first step."""
        return {"weights": self.weights} if self.weights else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, on the model's devices."""
        self.weights = snapshot(self.trainer.checkpointer.model)
        for name, value in state["weights"].items():
            self.weights[name].copy_(value)


class MeanOfCheckpoints(HookBase):  # type: ignore[misc]
    """Average the last checkpoints when the run ends, and evaluate that (Izmailov et al., 2018).

    They are the last step's and those due before it: one that a stop wrote in between does not
    count, so that a resumed run ends with the same average.

    Args:
        count: how many checkpoints, 2 or more.
        period: of the checkpoints, in steps.
    """

    def __init__(self, count: int, period: int) -> None:
        self._count, self._period = count, period

    def before_train(self) -> None:
        """Average at once if the run had made its last step when it was stopped."""
        if self.trainer.start_iter >= self.trainer.max_iter:
            self._average()

    def after_step(self) -> None:
        """Average after the last step, whose checkpoint has been written."""
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._average()

    def needs(self, step: int) -> list[str]:
        """Return the names of the checkpoints up to this step that may still be averaged."""
        return [numbered(one) for one in due_steps(step + 1, self._period, self._count)]

    def _average(self) -> None:
        comm.synchronize()  # only the main process writes
        run_dir = Path(self.trainer.cfg.OUTPUT_DIR)
        paths = [run_dir / name for name in self.needs(self.trainer.max_iter - 1)]
        weights = mean_of([path for path in paths if path.is_file()])
        self.trainer.write_average(MEAN, weights)
        if names := self.trainer.cfg.DATASETS.TEST:
            found = self.trainer.evaluations.of_weights(weights, names, MEAN)
            self.trainer.add_results(MEAN, found)
