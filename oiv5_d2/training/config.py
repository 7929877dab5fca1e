"""The bridge: a composed Hydra run becomes one frozen Detectron2 ``CfgNode``.

Detectron2's keys live under ``d2`` and keep their names. The schema is the installed Detectron2's
own: ``store_defaults`` hands its default values to Hydra, so every key can be set on the command
line and nothing has to be mirrored here, and yacs refuses what it does not know or what has another
type.
"""

from typing import Any

from detectron2.config import CfgNode, get_cfg
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.keys import leaves, near


def store_defaults() -> None:
    """Offer Detectron2's defaults to Hydra as ``detectron2: defaults``, placed under ``d2``."""
    node = {"d2": plain(get_cfg())}
    ConfigStore.instance().store(
        group="detectron2", name="defaults", node=node, package="_global_", provider="detectron2"
    )


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
            display names, whose number becomes ``MODEL.ROI_HEADS.NUM_CLASSES``.
        output_dir: the run directory.

    Raises:
        ValueError: a key that Detectron2 does not know, or a value of another type; the message
            names the full key, the nearest known ones or both types.
    """
    cfg = get_cfg()
    d2: Any = OmegaConf.to_container(run.d2, resolve=True)
    for key, value in leaves(d2):
        merge(cfg, key, value)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(run.data.classes)
    cfg.OUTPUT_DIR = output_dir
    cfg.freeze()
    return cfg


def merge(cfg: CfgNode, key: str, value: Any) -> None:
    """Set one dotted key of ``cfg``, checked by yacs."""
    known = {f"d2.{name}" for name, _ in leaves(plain(cfg))}
    if f"d2.{key}" not in known:
        raise ValueError(f"unknown Detectron2 key d2.{key}{near(f'd2.{key}', known)}")
    *path, last = key.split(".")
    node = cfg
    for part in path:
        node = node[part]
    try:
        node.merge_from_other_cfg(CfgNode({last: value}))
    except ValueError as error:
        wanted = type(node[last]).__name__
        hint = " (write 1.0, not 1)" if (wanted, type(value)) == ("float", int) else ""
        raise ValueError(
            f"d2.{key}={value!r} is of type {type(value).__name__}, "
            f"but Detectron2 wants {wanted}{hint}"
        ) from error


def check(cfg: CfgNode, cuda_available: bool) -> None:
    """Refuse before the first step what would fail after it.

    Raises:
        ValueError: frozen batch norm over random weights (activations explode into Inf/NaN), or a
            CUDA device where there is none.
    """
    if not cfg.MODEL.WEIGHTS and cfg.MODEL.RESNETS.NORM == "FrozenBN":
        raise ValueError(
            "d2.MODEL.WEIGHTS is empty, but d2.MODEL.RESNETS.NORM=FrozenBN cannot learn from "
            "random weights (it ends in Inf/NaN): give weights, or set d2.MODEL.RESNETS.NORM=BN "
            "d2.MODEL.BACKBONE.FREEZE_AT=0"
        )
    if not cfg.MODEL.WEIGHTS and cfg.MODEL.BACKBONE.FREEZE_AT > 0:
        raise ValueError(
            f"d2.MODEL.BACKBONE.FREEZE_AT={cfg.MODEL.BACKBONE.FREEZE_AT} would freeze random "
            "weights: set it to 0, or give d2.MODEL.WEIGHTS"
        )
    if cfg.MODEL.DEVICE.startswith("cuda") and not cuda_available:
        raise ValueError(
            f"d2.MODEL.DEVICE={cfg.MODEL.DEVICE}, but PyTorch sees no GPU here: "
            "set d2.MODEL.DEVICE=cpu, or mend the driver"
        )
