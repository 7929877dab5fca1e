"""Runs, evaluated again on any part of their data, with any of their checkpoints."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from oiv5_d2.evaluation.evaluator import evaluate
from oiv5_d2.files import sha256
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.layout import CONFIG_YAML, Record, find_part, read_record
from oiv5_d2.runs.prepared import Prepared, check_truth
from oiv5_d2.runs.results import RESULTS_JSON, Results, read_results
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import merge
from oiv5_d2.training.tta import with_augmentation
from oiv5_d2.training.weights import load_pretrained

# isort: split
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model

logger = logging.getLogger(__name__)

NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
# What an evaluation reads of a configuration: these groups and keys, and keys that end like this.
_TEST_GROUP, _TEST_KEYS, _TEST_ENDING = "TEST.", ("DATALOADER.NUM_WORKERS",), "_TEST"
_NO_EFFECT = ("TEST.EVAL_PERIOD", "TEST.EXPECTED_RESULTS", "TEST.PRECISE_BN")


def check_changes(changes: Iterable[str]) -> None:
    """Refuse a key that has no effect on an evaluation.

    Raises:
        Problem: SETTING.
    """
    for key in changes:
        is_read = key.startswith(_TEST_GROUP) or key in _TEST_KEYS or key.endswith(_TEST_ENDING)
        if not is_read or key.startswith(_NO_EFFECT):
            detail = "it has no effect on an evaluation, which reads d2.TEST.* and d2.*_TEST"
            raise wrong_setting(f"d2.{key}", "...", detail)


def load_cfg(
    run_dir: Path,
    weights_path: Path,
    device: str | None,
    changes: Mapping[str, Any] = NO_CHANGES,
) -> CfgNode:
    """Return a run's configuration for an evaluation: these weights, this device, frozen.

    Args:
        run_dir: holds the ``config.yaml`` that the run was made with.
        weights_path: of the checkpoint.
        device: as PyTorch names it; None for the run's own, or the CPU without a GPU.
        changes: other values by dotted key, such as ``TEST.AUG.ENABLED``.

    Raises:
        Problem: ABSENT, no configuration or no such weights; SETTING, a change that has no effect
            on an evaluation, or a value of another type.
    """
    check_changes(changes)
    config_path = run_dir / CONFIG_YAML
    for path, key in ((config_path, "run"), (weights_path, "weights")):
        if not path.is_file():
            raise Problem(Kind.ABSENT, path, key=key, remedy=Remedy.CHANGE_SETTING)
    cfg = get_cfg()
    cfg.ANNOTATION = CfgNode(new_allowed=True)  # of a run that learned from partial annotation
    cfg.merge_from_file(str(config_path), allow_unsafe=False)
    cfg.MODEL.WEIGHTS = str(weights_path)
    cfg.MODEL.DEVICE = device or _device_here(cfg.MODEL.DEVICE)
    cfg.OUTPUT_DIR = str(run_dir)
    for key, value in changes.items():
        merge(cfg, key, value)
    cfg.freeze()
    return cfg


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


def load_model(cfg: CfgNode) -> torch.nn.Module:
    """Build the model of a run's configuration with its weights.

    Raises:
        Problem: MISMATCH, the weights belong to another model; or those of `load_pretrained`.
    """
    model: torch.nn.Module = build_model(cfg)
    if anew := load_pretrained(model, cfg.MODEL.WEIGHTS):
        model_of = f"the model of {cfg.OUTPUT_DIR}"
        detail = f"{len(anew)} parameters differ from {model_of}, such as {anew[0]}"
        remedy = Remedy.CHANGE_SETTING
        raise Problem(Kind.MISMATCH, cfg.MODEL.WEIGHTS, detail, key="weights", remedy=remedy)
    return model


def _device_here(device: str) -> str:
    if device.startswith("cuda") and not torch.cuda.is_available():
        logger.warning(
            "The run used %s, which is not available here: evaluating on the CPU", device
        )
        return "cpu"
    return device


def _warn_of_other_data(record: Record, dataset: Prepared) -> None:
    """Warn if a part has changed since the run."""
    then = record["data"].get(dataset.name, {}).get("sha256")
    if then and then != sha256(dataset.json_path):
        logger.warning(
            "%s has changed since the run: results are not comparable",
            dataset.json_path,
        )
