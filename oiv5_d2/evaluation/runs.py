"""Runs, evaluated again on any part of their data, with any of their checkpoints."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oiv5_d2.evaluation.evaluator import evaluate
from oiv5_d2.files import sha256
from oiv5_d2.runs.layout import Record, find_part, read_record
from oiv5_d2.runs.prepared import Prepared, check_truth
from oiv5_d2.runs.results import RESULTS_JSON, Results, read_results
from oiv5_d2.training.catalog import register
from oiv5_d2.training.models import NO_CHANGES, load_cfg, load_model
from oiv5_d2.training.tta import with_augmentation

logger = logging.getLogger(__name__)


def evaluate_run(
    run_dir: Path,
    part: str,
    weights_path: Path,
    device: str | None,
    output_dir: Path,
    changes: Mapping[str, Any] = NO_CHANGES,
) -> Results:
    """Evaluate a run's weights on one part of its data.

    Args:
        run_dir: the run.
        part: as in ``coco/{part}.json`` of the data folder.
        weights_path: of the checkpoint.
        device: None for the run's own.
        output_dir: gets the results and the detections.
        changes: other values by dotted key, which the results name.

    Raises:
        Problem: ABSENT, no such run, weights or data; MISMATCH, the weights belong to another
            model; or those of `load_cfg` and `load_pretrained`.
    """
    record = read_record(run_dir)
    cfg = load_cfg(run_dir, weights_path, device, changes)
    dataset = find_part(run_dir, part)
    _warn_of_other_data(record, dataset)
    check_truth(dataset, "part")
    register([dataset], record["classes"])
    remarks = [f"evaluated with d2.{key}={value}" for key, value in changes.items()]
    model = with_augmentation(cfg, load_model(cfg))
    evaluate(cfg, model, dataset.name, output_dir, remarks)
    return read_results(output_dir / RESULTS_JSON)


def _warn_of_other_data(record: Record, dataset: Prepared) -> None:
    """Warn if a part has changed since the run."""
    then = record["data"].get(dataset.name, {}).get("sha256")
    if then and then != sha256(dataset.json_path):
        logger.warning(
            "%s has changed since the run: results are not comparable",
            dataset.json_path,
        )
