"""The bridge: a composed Hydra run becomes one frozen Detectron2 ``CfgNode``.

Detectron2's keys live under ``d2`` and keep their names. The schema is the installed Detectron2's
own: `write_defaults` makes a file of ``configs/detectron2`` from it, so that every key can be set
on the command line, and yacs refuses unknown keys and values of another type.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.files import whole_file
from oiv5_d2.keys import check_known, leaves
from oiv5_d2.modeling import PartialRCNN, PartialROIHeads, PartialRPN
from oiv5_d2.modeling.settings import Annotation
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.provenance import detectron2_version

_HEADER = """\
# @package _global_
# The defaults of Detectron2 {version}: the value of each key under d2 that no other file sets.
# Generated from the installed Detectron2 by `make defaults`.
"""


# Keys that the bridge sets itself, and the setting of ours that decides them.
OVERRULED = {
    "MODEL.ROI_HEADS.NUM_CLASSES": "data.classes",
    "OUTPUT_DIR": "run_dir",
    "SOLVER.AMP.ENABLED": "trainer.precision",
}
_PROPOSALS = "the model makes its own proposals; files of them are not read"
_KEYPOINTS = "the data has no keypoints"
# Keys whose other values would have no effect, or fail after the first step.
USELESS = {
    "DATALOADER.RANDOM_SUBSET_RATIO": "trainer.data_share trains on a share of the data",
    "DATASETS.PROPOSAL_FILES_TEST": _PROPOSALS,
    "DATASETS.PROPOSAL_FILES_TRAIN": _PROPOSALS,
    "GLOBAL.HACK": "nothing reads it",
    "MODEL.KEYPOINT_ON": _KEYPOINTS,
    "MODEL.LOAD_PROPOSALS": _PROPOSALS,
    "SOLVER.REFERENCE_WORLD_SIZE": "trainer.reference_batch makes rate and length follow the batch",
    "TEST.KEYPOINT_OKS_SIGMAS": _KEYPOINTS,
    "VERSION": "it names the format of Detectron2's own files",
}
# Detectron2's architectures, and the ones of `oiv5_d2.modeling` that take their place.
PARTIAL = {
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", PartialRCNN.__name__),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN", PartialRPN.__name__),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads", PartialROIHeads.__name__),
}


def write_defaults(configs_dir: Path) -> Path:
    """Write the installed Detectron2's defaults to ``detectron2/v<version>.yaml`` of configs."""
    version = detectron2_version()
    path = configs_dir / "detectron2" / f"v{version}.yaml"
    lines = _yaml_lines({"d2": plain(get_cfg())})
    with whole_file(path) as temporary:
        temporary.write_text(_HEADER.format(version=version) + "\n".join([*lines, ""]))
    return path


def _yaml_lines(tree: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Yield a line per key, sorted; values are JSON, which is YAML."""
    for key, value in sorted(tree.items()):
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _yaml_lines(value, f"{indent}  ")
        else:
            yield f"{indent}{key}: {json.dumps(value)}"


def plain(cfg: CfgNode) -> dict[str, Any]:
    """Return a ``CfgNode`` as nested dicts, with lists for tuples (Hydra knows no tuples)."""
    return {
        key: plain(value)
        if isinstance(value, CfgNode)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in cfg.items()
    }


def to_cfg(run: DictConfig, output_dir: str) -> CfgNode:
    """Build the frozen ``CfgNode`` of one run.

    Args:
        run: the composed Hydra config; ``run.d2`` holds Detectron2's keys, ``run.data.classes`` the
            display names, whose number becomes ``MODEL.ROI_HEADS.NUM_CLASSES``, and
            ``run.annotation``, unless it is None, what becomes ``ANNOTATION``.
        output_dir: the run directory.

    Raises:
        Problem: SETTING, a key that Detectron2 does not know, a value of another type, or one that
            would be overruled or have no effect.
    """
    cfg = get_cfg()
    known = {key for key, _ in leaves({"d2": plain(cfg)})}
    # Not every version has all of these keys.
    checked = [key for key in (*OVERRULED, *USELESS) if f"d2.{key}" in known]
    defaults = {key: node_at(cfg, key) for key in checked}
    values = dict(leaves({"d2": OmegaConf.to_container(run.d2, resolve=True)}))
    check_known(values, known)
    for key, value in values.items():
        merge(cfg, key.removeprefix("d2."), value)
    for key, default in defaults.items():
        if (value := node_at(cfg, key)) != default:
            detail = USELESS.get(key, "it would be overruled")
            raise wrong_setting(f"d2.{key}", value, detail, change=OVERRULED.get(key, ""))
    if cfg.MODEL.MASK_ON and cfg.INPUT.MASK_FORMAT != "bitmask":
        key, detail = (
            "d2.INPUT.MASK_FORMAT",
            "masks are trained as bitmask, in whatever form they are",
        )
        raise wrong_setting(key, cfg.INPUT.MASK_FORMAT, detail)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(run.data.classes)
    cfg.OUTPUT_DIR = output_dir
    if run.annotation is not None:
        _learn_in_part(cfg, run.annotation)
    cfg.freeze()
    return cfg


def _learn_in_part(cfg: CfgNode, settings: DictConfig) -> None:
    """Set ``ANNOTATION``, and the architecture of ours in place of each of Detectron2's."""
    given = {str(key): value for key, value in settings.items()}
    wanted = [f"annotation.{each.name}" for each in fields(Annotation)]
    check_known([f"annotation.{key}" for key in given], wanted)
    cfg.ANNOTATION = CfgNode(asdict(Annotation(**given)))
    for key, (stock, ours) in PARTIAL.items():
        if node_at(cfg, key) != stock:
            detail = f"annotation=partial is made for {stock}"
            raise wrong_setting(f"d2.{key}", node_at(cfg, key), detail, change="annotation=stock")
        merge(cfg, key, ours)
    if cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES:
        key, detail = "d2.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES", "annotation=partial does not"
        raise wrong_setting(key, True, detail)


def node_at(cfg: CfgNode, key: str) -> Any:
    """Return the value of a dotted key."""
    return reduce(getitem, key.split("."), cfg)


def merge(cfg: CfgNode, key: str, value: Any) -> None:
    """Set one dotted key of ``cfg``, checked by yacs."""
    *groups, last = key.split(".")
    node = cfg
    for group in groups:
        node = node[group]
    try:
        node.merge_from_other_cfg(CfgNode({last: value}))
    except ValueError as error:
        wanted = type(node[last]).__name__
        hint = ", written 1.0 instead of 1" if (wanted, type(value)) == ("float", int) else ""
        detail = f"{type(value).__name__} instead of {wanted}{hint}"
        raise wrong_setting(f"d2.{key}", repr(value), detail) from error


def check(cfg: CfgNode, cuda_available: bool, num_processes: int = 1) -> None:
    """Refuse before the first step what would fail after it.

    Raises:
        Problem: SETTING, frozen batch norm or frozen stages over random weights (activations
            explode into Inf/NaN), PyTorch's synchronised batch norm on CPUs, a CUDA device where
            there is none, or a batch that the processes cannot share evenly.
    """
    if cfg.SOLVER.IMS_PER_BATCH % num_processes:
        key = "d2.SOLVER.IMS_PER_BATCH"
        detail = f"not divisible by {num_processes} processes"
        raise wrong_setting(key, cfg.SOLVER.IMS_PER_BATCH, detail, change=f"{key} launch")
    _check_norms(cfg, num_processes)
    norm, freeze_at = cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT
    if not cfg.MODEL.WEIGHTS and norm == "FrozenBN":
        raise wrong_setting(
            "d2.MODEL.RESNETS.NORM",
            norm,
            "d2.MODEL.WEIGHTS is empty, and frozen batch norm over random weights ends in Inf/NaN",
            change="d2.MODEL.WEIGHTS d2.MODEL.RESNETS.NORM=BN d2.MODEL.BACKBONE.FREEZE_AT=0",
        )
    if not cfg.MODEL.WEIGHTS and freeze_at > 0:
        raise wrong_setting(
            "d2.MODEL.BACKBONE.FREEZE_AT",
            freeze_at,
            "d2.MODEL.WEIGHTS is empty, so random weights would be frozen",
            change="d2.MODEL.WEIGHTS d2.MODEL.BACKBONE.FREEZE_AT=0",
        )
    if cfg.MODEL.DEVICE.startswith("cuda") and not cuda_available:
        key, detail = "d2.MODEL.DEVICE", "PyTorch finds no GPU here"
        raise wrong_setting(key, cfg.MODEL.DEVICE, detail, change=f"{key}=cpu")


def _check_norms(cfg: CfgNode, num_processes: int) -> None:
    if num_processes == 1 or cfg.MODEL.DEVICE != "cpu":
        return
    for key, value in leaves({"d2": plain(cfg)}):
        if key.endswith(".NORM") and value in ("SyncBN", "nnSyncBN"):
            detail = "PyTorch's own needs a GPU for each process"
            raise wrong_setting(key, value, detail, change=f"{key}=naiveSyncBN")
