"""When the numbers of a run are written."""

from collections.abc import Sequence
from typing import Any

from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils.events import CommonMetricPrinter, EventWriter


class Write(PeriodicWriter):  # type: ignore[misc]
    """Write every `period` steps, after the last one, and after each evaluation.

    The event storage has the newest value of a number only: of two evaluations within a period,
    the first one would be lost.

    Args:
        writers: what writes.
        period: in steps.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int) -> None:
        super().__init__(writers, period)
        self._results: Any = None  # of the last evaluation that was written

    def before_train(self) -> None:
        """Write what was evaluated before the first step."""
        self._write_evaluation()

    def after_step(self) -> None:
        """Write if it is time."""
        self._write_evaluation()
        super().after_step()

    def _write_evaluation(self) -> None:
        results = self.trainer.last_results
        if not results or results is self._results:
            return
        self._results = results
        for writer in self._writers:
            if not isinstance(writer, CommonMetricPrinter):  # it divides by the steps since then
                writer.write()
