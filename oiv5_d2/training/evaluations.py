"""The evaluations of a run: of its model, of averages of the weights, and of its losses."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from oiv5_d2.jobs import Show
from oiv5_d2.runs.layout import EVALUATION
from oiv5_d2.training.averages import Weights, swapped
from oiv5_d2.training.catalog import naming_damage
from oiv5_d2.training.data.loader import build_test_loader
from oiv5_d2.training.group import share_buffers
from oiv5_d2.training.inference import infer
from oiv5_d2.training.tta import with_augmentation
from oiv5_d2.training.validation import measure_losses

BuildEvaluator = Callable[[CfgNode, str, Path], DatasetEvaluator]


class Evaluations:
    """Evaluates a model on data sets; all processes take part.

    Args:
        cfg: the run's.
        model: as it is trained, perhaps wrapped for several processes.
        build_evaluator: makes the evaluator of one data set from (cfg, data set name, its folder).
        show: shows them as they go.

    Attributes:
        is_running: whether one is going on.
    """

    def __init__(
        self, cfg: CfgNode, model: torch.nn.Module, build_evaluator: BuildEvaluator, show: Show
    ) -> None:
        self._cfg, self._model, self._show = cfg, model, show
        self._unwrapped = getattr(model, "module", model)
        self._build_evaluator = build_evaluator
        self.is_running = False

    def of_model(self, names: Sequence[str], folder_name: str = EVALUATION) -> dict[str, Any]:
        """Evaluate the model as it is now.

        Args:
            names: of the data sets.
            folder_name: in the run directory; has the detections.

        Returns:
            ``{"bbox": {...}, "segm": {...}}``; with several data sets, one such dict by name.
            Empty in all processes but the main one.
        """
        share_buffers(self._model)
        folder = Path(self._cfg.OUTPUT_DIR) / folder_name
        with self._running():
            found = {name: self._evaluate_on(name, folder / name) for name in names}
        comm.synchronize()
        if not comm.is_main_process():
            return {}
        return found if len(found) > 1 else next(iter(found.values()), {})

    def of_weights(self, weights: Weights, names: Sequence[str], file: str) -> dict[str, Any]:
        """Evaluate other weights of the model, as `of_model` does.

        Args:
            weights: used meanwhile, and the same again afterwards.
            names: of the data sets.
            file: ``model_{file}.pth`` has them; names the folder with the detections.
        """
        with swapped(self._unwrapped, weights):
            return self.of_model(names, f"{EVALUATION}_model_{file}")

    def of_losses(self) -> dict[str, float]:
        """Return the losses on the images of ``DATASETS.TEST``; see `validation`."""
        with self._running():
            return measure_losses(self._cfg, self._unwrapped)

    def _evaluate_on(self, dataset_name: str, output_dir: Path) -> dict[str, Any]:
        evaluator = self._build_evaluator(self._cfg, dataset_name, output_dir)
        loader = build_test_loader(self._cfg, dataset_name)
        tested = with_augmentation(self._cfg, self._model)
        with naming_damage(dataset_name):
            return infer(tested, loader, evaluator, self._show, dataset_name)

    @contextmanager
    def _running(self) -> Iterator[None]:
        self.is_running = True
        yield
        self.is_running = False
