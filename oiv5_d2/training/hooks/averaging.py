"""Averages of the weights, evaluated beside the weights themselves."""

from typing import Any

from detectron2.engine import HookBase

from oiv5_d2.training.averages import Weights, blend, snapshot


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
        file_name: of the file with the last step's average.
    """

    def __init__(self, decay: float, file_name: str) -> None:
        self._decay, self._file_name = decay, file_name
        self.weights: Weights = {}

    def before_train(self) -> None:
        """Start from the first weights, unless a checkpoint was resumed."""
        self.weights = self.weights or snapshot(self.trainer.checkpointer.model)

    def after_step(self) -> None:
        """Take the new weights in."""
        step = self.trainer.iter
        blend(self.weights, self.trainer.checkpointer.model, warmed_up(self._decay, step))
        if step + 1 >= self.trainer.max_iter:
            self.trainer.write_weights(self._file_name, self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the average; nothing before the first step."""
        return {"weights": self.weights} if self.weights else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, on the model's devices."""
        self.weights = snapshot(self.trainer.checkpointer.model)
        for name, value in state["weights"].items():
            self.weights[name].copy_(value)
