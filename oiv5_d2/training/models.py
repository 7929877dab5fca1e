"""A run's configuration and model again, with any of its checkpoints, to evaluate or to use it."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.layout import CONFIG_YAML
from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable
from oiv5_d2.training.config import merge
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
        logger.warning("The run used %s, which is not available here: using the CPU", device)
        return "cpu"
    return device
