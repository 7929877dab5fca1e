"""Detectron2's test-time augmentation, of boxes and masks."""

import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNNWithTTA


def with_augmentation(cfg: CfgNode, model: torch.nn.Module) -> torch.nn.Module:
    """Return what is evaluated: the model, or the model on several sizes and mirrored images.

    Boxes of all versions of an image are merged by non-maximum suppression; then each box's masks
    are averaged. ``TEST.AUG.MIN_SIZES``, ``MAX_SIZE`` and ``FLIP`` say which versions there are.
    """
    return GeneralizedRCNNWithTTA(cfg, model) if cfg.TEST.AUG.ENABLED else model


def describe_augmentation(cfg: CfgNode) -> str:
    """Return in a few words what test-time augmentation does."""
    sizes = ", ".join(map(str, cfg.TEST.AUG.MIN_SIZES))
    return f"shorter sides {sizes}{', each mirrored as well' if cfg.TEST.AUG.FLIP else ''}"
