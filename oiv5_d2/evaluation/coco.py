"""COCO's box and mask average precision, on Detectron2's own evaluator.

Three things are added to it: a model that finds nothing scores zero (v0.6 leaves NaN and drops the
classes), AP50 is reported per class beside AP, and files appear whole or not at all.
"""

import contextlib
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oiv5_d2.files import sha256, whole_file
from oiv5_d2.runs.results import (
    METRICS,
    PREDICTIONS_JSON,
    RESULTS_JSON,
    Metrics,
    Results,
    describe_gaps,
    write_results,
)
from oiv5_d2.training import compat

logger = logging.getLogger(__name__)

AP50_INDEX = 0  # COCO's IoU thresholds are .50, .55 ... .95


def build_evaluator(cfg: CfgNode, dataset_name: str, output_dir: Path | None) -> "Evaluator":
    """Return the evaluator of one registered dataset.

    Args:
        cfg: its ``MODEL.MASK_ON`` decides if masks are evaluated.
        dataset_name: registered, with a COCO file.
        output_dir: gets ``results.json`` and ``coco_instances_results.json``; None writes nothing.
    """
    tasks = ("bbox", "segm") if cfg.MODEL.MASK_ON else ("bbox",)
    return Evaluator(dataset_name, tasks, output_dir)


def evaluate(
    cfg: CfgNode, model: Any, dataset_name: str, output_dir: Path | None
) -> dict[str, Metrics]:
    """Run `model` over a registered dataset and evaluate its detections.

    Returns:
        ``{"bbox": {"AP": ..., "AP-Person": ..., "AP50-Person": ...}, "segm": {...}}``, 0 to 100,
        NaN for what cannot be measured; empty on all processes but the main one.
    """
    loader = build_detection_test_loader(cfg, dataset_name)
    results = inference_on_dataset(model, loader, build_evaluator(cfg, dataset_name, output_dir))
    return dict(results)


class Evaluator(COCOEvaluator):  # type: ignore[misc]  # Detectron2 carries no types
    """Detectron2's evaluator with zeros where nothing is found, AP50 per class, whole files."""

    def __init__(self, dataset_name: str, tasks: Sequence[str], output_dir: Path | None) -> None:
        # Loading sets how category ids map to indices; without it the ids would be the indices.
        if not hasattr(MetadataCatalog.get(dataset_name), "thing_dataset_id_to_contiguous_id"):
            DatasetCatalog.get(dataset_name)
        # Its own files are written piece by piece, so it gets no folder; ours are written below.
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(
                dataset_name, tasks=tuple(tasks), use_fast_impl=compat.has_compiled_ops()
            )
        self._dataset_name = dataset_name
        self._files_dir = output_dir

    def _eval_predictions(
        self, predictions: list[dict[str, Any]], img_ids: list[int] | None = None
    ) -> None:
        if (
            self._files_dir is not None
        ):  # first, so that a failure in the evaluation loses no detections
            _write_predictions(
                self._files_dir / PREDICTIONS_JSON,
                predictions,
                self._metadata.thing_dataset_id_to_contiguous_id,
            )
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            super()._eval_predictions(predictions, img_ids=img_ids)
        results = self._describe()
        for note in describe_gaps(results):
            logger.warning(note)
        if self._files_dir is not None:
            write_results(self._files_dir / RESULTS_JSON, results)

    def _derive_coco_results(
        self, coco_eval: Any, iou_type: str, class_names: Sequence[str] | None = None
    ) -> Metrics:
        if coco_eval is None:
            logger.warning("%s: no detection on any image", self._dataset_name)
            coco_eval = _evaluate_nothing(self._coco_api, iou_type)
        return _to_metrics(coco_eval, class_names or [])

    def _describe(self) -> Results:
        return Results(
            dataset=self._dataset_name,
            sha256=sha256(Path(self._metadata.json_file)),
            num_images=len(self._coco_api.imgs),
            num_instances=count_instances(self._coco_api),
            tasks=dict(self._results),
        )


def count_instances(truth: COCO) -> dict[str, int]:
    """Return the number of objects to find per class name, in category order.

    Ignored regions (``iscrowd``) are not counted.
    """
    counts = Counter(a["category_id"] for a in truth.anns.values() if not a["iscrowd"])
    return {truth.cats[id_]["name"]: counts[id_] for id_ in sorted(truth.cats)}


def _evaluate_nothing(truth: COCO, iou_type: str) -> COCOeval:
    """Evaluate an empty list of detections; ``COCO.loadRes`` refuses one."""
    nothing = COCO()
    nothing.dataset = {**truth.dataset, "annotations": []}
    nothing.createIndex()
    evaluated = COCOeval(truth, nothing, iou_type)
    evaluated.evaluate()
    evaluated.accumulate()
    evaluated.summarize()
    return evaluated


def _to_metrics(evaluated: COCOeval, class_names: Sequence[str]) -> Metrics:
    means = {name: _to_percent(evaluated.stats[i]) for i, name in enumerate(METRICS)}
    # (iou threshold, recall, class, area range, most detections): all areas, 100 per image.
    precision = evaluated.eval["precision"][:, :, :, 0, -1]
    per_class = {f"AP-{c}": _mean_precision(precision[:, :, i]) for i, c in enumerate(class_names)}
    at_half = {
        f"AP50-{c}": _mean_precision(precision[AP50_INDEX, :, i]) for i, c in enumerate(class_names)
    }
    return {**means, **per_class, **at_half}


def _mean_precision(precision: np.ndarray) -> float:
    """Return the mean in percent; COCO marks what cannot be measured by -1."""
    measured = precision[precision > -1]
    return float(measured.mean()) * 100 if measured.size else math.nan


def _to_percent(share: float) -> float:
    return float(share) * 100 if share >= 0 else math.nan


def _write_predictions(
    path: Path, predictions: Sequence[dict[str, Any]], contiguous_ids: Mapping[int, int]
) -> None:
    """Write detections in COCO's result format, under the category ids of the COCO file."""
    category_ids = {index: id_ for id_, index in contiguous_ids.items()}
    found = [
        {**one, "category_id": category_ids[one["category_id"]]}
        for prediction in predictions
        for one in prediction["instances"]
    ]
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(found))
