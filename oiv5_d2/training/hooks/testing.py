"""The evaluation of the best weights on data that no choice was made on."""

from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm

from oiv5_d2.runs.layout import FINAL_WEIGHTS
from oiv5_d2.runs.metrics import TEST
from oiv5_d2.training.checkpoints import BEST_WEIGHTS, read


class TestBest(HookBase):  # type: ignore[misc]
    """Evaluate the best checkpoint on a data set of its own, once the run has made its last step.

    Without a best one, because nothing was evaluated before, the final one is taken.

    Args:
        dataset_name: registered.
    """

    __test__ = False  # pytest takes it for a test

    def __init__(self, dataset_name: str) -> None:
        self._dataset_name = dataset_name

    def before_train(self) -> None:
        """Evaluate at once if the run had made its last step when it was stopped."""
        if self.trainer.start_iter >= self.trainer.max_iter:
            self._evaluate()

    def after_step(self) -> None:
        """Evaluate after the last step, when it is known which checkpoint is the best."""
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._evaluate()

    def _evaluate(self) -> None:
        comm.synchronize()  # only the main process writes
        run_dir = Path(self.trainer.cfg.OUTPUT_DIR)
        is_there = (run_dir / BEST_WEIGHTS).is_file()
        path = run_dir / (BEST_WEIGHTS if is_there else FINAL_WEIGHTS)
        file = path.stem.removeprefix("model_")
        weights = read(path)["model"]
        found = self.trainer.evaluations.of_weights(weights, [self._dataset_name], file)
        self.trainer.add_results(TEST, found)
