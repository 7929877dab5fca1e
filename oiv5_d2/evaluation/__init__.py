"""Evaluating a model: COCO's average precision of boxes and masks, per class, on any part."""

from oiv5_d2.training import compat  # first: it makes Detectron2 importable

__all__ = ["compat"]
