"""Samples of images annotated in part: which objects, regions and verified classes they have."""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from numpy.typing import NDArray

from oiv5_d2.training.data.image_mapper import ImageMapper
from oiv5_d2.training.data.lookups import Size
from oiv5_d2.training.data.records import Record
from oiv5_d2.training.data.targets import move_boxes


class PartialMapper(ImageMapper):
    """A mapper whose samples keep regions and verified classes.

    ``instances`` has ``gt_has_mask``; where it is False, ``gt_masks`` is the filled box.
    ``regions`` holds the ignore regions, transformed as the objects are.

    Args:
        smallest_area: in pixels of the sample. Objects without a mask that are smaller become
            ignore regions, see `_smallest_area`.
        stock: of Detectron2's mapper.
    """

    @configurable  # type: ignore[untyped-decorator]
    def __init__(self, *, smallest_area: float, **stock: Any) -> None:
        super().__init__(**stock)
        self.smallest_area = smallest_area

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Return the arguments of a configuration."""
        stock: dict[str, Any] = super().from_config(cfg, is_train)
        return {**stock, "smallest_area": _smallest_area(cfg)}

    def find_targets(
        self, record: Record, transforms: T.TransformList, before: Size, size: Size
    ) -> dict[str, Any]:
        """Return objects, regions and which classes were verified."""
        found: dict[str, Any] = {"verified": torch.tensor(record["verified"])}
        annotations = record["annotations"]
        boxes = move_boxes(annotations, transforms, size)
        pairs = zip(annotations, boxes, strict=True)
        regions = [bool(one["iscrowd"] or self._is_too_small(one, box)) for one, box in pairs]
        for name, wanted in (("instances", False), ("regions", True)):
            some = [
                a for a, is_region in zip(annotations, regions, strict=True) if is_region == wanted
            ]
            moved = self.move(some, transforms, before, size)
            has_mask = [one["has_mask"] for one in some]
            moved.gt_has_mask = torch.tensor(has_mask, dtype=torch.bool)
            found[name] = utils.filter_empty_instances(moved)
        return found

    def _is_too_small(self, annotation: dict[str, Any], box: NDArray[np.float64]) -> bool:
        x0, y0, x1, y1 = box
        area = float((x1 - x0) * (y1 - y0))
        return not annotation["has_mask"] and area < self.smallest_area


def _smallest_area(cfg: CfgNode) -> float:
    """Return the area in pixels below which every anchor's IoU with a box counts as background.

    Detectron2 makes objects of the anchors of the highest IoU all the same, and all anchors around
    a tiny box have one IoU: a dozen or more, with large offsets to learn, crowd out the others.
    The release has masks for large objects only, so v0.6 meets few such boxes; here are many.
    """
    smallest = min(side for sides in cfg.MODEL.ANCHOR_GENERATOR.SIZES for side in sides)
    return float(cfg.MODEL.RPN.IOU_THRESHOLDS[0] * smallest**2)
