"""The metrics inside Detectron2: what a model finds is packed into arrays, image by image."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.detections import BBOX, SEGM, Collector, Detections, concatenate
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.formats import write_coco
from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.label_errors import find_suspects, write_suspects
from oiv5_d2.evaluation.labels import read_mids
from oiv5_d2.evaluation.masks import encode
from oiv5_d2.evaluation.scoring import score
from oiv5_d2.evaluation.truth import Truth, read_truth
from oiv5_d2.runs.results import (
    LABEL_ERRORS_CSV,
    PREDICTIONS_JSON,
    RESULTS_JSON,
    Metrics,
    describe_gaps,
    write_results,
)
from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable
from oiv5_d2.training.catalog import naming_damage
from oiv5_d2.training.data.loader import build_test_loader
from oiv5_d2.training.tta import describe_augmentation

# isort: split
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.structures import Instances
from detectron2.utils import comm

logger = logging.getLogger(__name__)

PIECE = 500_000  # detections that are sent at once


def build_evaluator(
    cfg: CfgNode, dataset_name: str, output_dir: Path | None, remarks: Sequence[str] = ()
) -> "Evaluator":
    """Return the evaluator of one registered dataset.

    Args:
        cfg: its ``MODEL.MASK_ON`` decides if masks are evaluated.
        dataset_name: registered, with a COCO file.
        output_dir: gets ``results.json``, ``coco_instances_results.json`` and
            ``label_errors.csv``; None writes nothing.
        remarks: sentences for the results.
    """
    tasks = (BBOX, SEGM) if cfg.MODEL.MASK_ON else (BBOX,)
    if cfg.TEST.AUG.ENABLED:
        remarks = (*remarks, f"with test-time augmentation: {describe_augmentation(cfg)}")
    frame = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    return Evaluator(dataset_name, tasks, output_dir, remarks, frame)


def evaluate(
    cfg: CfgNode,
    model: Any,
    dataset_name: str,
    output_dir: Path | None,
    remarks: Sequence[str] = (),
) -> dict[str, Metrics]:
    """Run `model` over a registered dataset and evaluate its detections; see `build_evaluator`.

    Returns:
        as `Results.tasks`; empty on all processes but the main one.
    """
    loader = build_test_loader(cfg, dataset_name)
    evaluator = build_evaluator(cfg, dataset_name, output_dir, remarks)
    with naming_damage(dataset_name):
        return dict(inference_on_dataset(model, loader, evaluator))


def gather(found: Detections) -> Iterator[Detections]:
    """Yield the detections of all processes to the main one, process after process.

    They are sent in pieces, so that no process holds more than one of another in transit.
    """
    if comm.get_world_size() == 1:
        yield found
        return
    for sender, number in enumerate(comm.all_gather(len(found))):
        own = np.arange(len(found) if sender == comm.get_rank() else 0)
        for start in range(0, number, PIECE) or [0]:
            yield from comm.gather(found.take(own[start : start + PIECE]))[sender : sender + 1]


class Evaluator(DatasetEvaluator):  # type: ignore[misc]  # Detectron2 carries no types
    """Collects detections on a data set and judges them by every metric.

    Each process keeps compact arrays, and the main one gets those of all.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Sequence[str],
        output_dir: Path | None,
        remarks: Sequence[str] = (),
        frame: tuple[int, int] = Truth.frame,
    ) -> None:
        path = Path(MetadataCatalog.get(dataset_name).json_file)
        self._path, self._truth = path, replace(read_truth(path, dataset_name), frame=frame)
        self._places = {image["id"]: index for index, image in enumerate(self._truth.images)}
        self._tasks, self._output_dir, self._remarks = tuple(tasks), output_dir, tuple(remarks)
        self.reset()

    def reset(self) -> None:
        """Forget all detections."""
        self._found = Collector()

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Instances]]
    ) -> None:
        """Take the model's outputs on some images."""
        for image, output in zip(inputs, outputs, strict=True):
            self._take(self._places[image["image_id"]], output["instances"].to("cpu"))

    def evaluate(self) -> dict[str, Metrics]:
        """Return all metrics on the main process, and write the files."""
        parts = list(gather(self._found.finish()))
        if not comm.is_main_process():
            return {}
        found, truth = concatenate(parts), self._truth
        if self._output_dir is not None:  # first, so that a failure below loses no detections
            write_coco(self._output_dir / PREDICTIONS_JSON, found, truth)
        mids = read_mids(self._path, None)
        diagnosis = diagnose(truth, found, self._tasks[-1])
        analysis = analyse(diagnosis, {mid: name for name, mid in mids.items()})
        above = read_above(truth, {}, None)
        results = score(truth, found, above, self._tasks, analysis, self._remarks)
        for note in describe_gaps(results):
            logger.warning(note)
        if self._output_dir is not None:
            write_results(self._output_dir / RESULTS_JSON, results)
            write_suspects(self._output_dir / LABEL_ERRORS_CSV, find_suspects(diagnosis), truth)
        return results.tasks

    def _take(self, place: int, found: Instances) -> None:
        boxes = found.pred_boxes.tensor.numpy().copy()
        boxes[:, 2:] -= boxes[:, :2]
        classes, scores = found.pred_classes.tolist(), found.scores.tolist()
        counts = [b""] * len(found)
        if found.has("pred_masks"):
            counts = [rle["counts"] for rle in encode(found.pred_masks.numpy())]
        size = tuple(self._truth.sizes[place].tolist())
        for i, box in enumerate(boxes.tolist()):
            self._found.append((place, classes[i]), scores[i], box, size, counts[i])
