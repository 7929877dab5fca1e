"""Training images as the model gets them, after augmentation, as W&B's images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, Instances, PolygonMasks
from pycocotools import mask as run_lengths

from oiv5_d2.training.writers.overlays import TRUTH, Layer, overlay


def show_fed(
    samples: Sequence[Mapping[str, Any]], image_format: str, classes: Sequence[str]
) -> list[Any]:
    """Return W&B's image of each sample.

    Args:
        samples: of the training loader.
        image_format: ``INPUT.FORMAT``.
        classes: display names, in the order of their category ids.
    """
    return [_show_one(sample, image_format, classes) for sample in samples]


def _show_one(sample: Mapping[str, Any], image_format: str, classes: Sequence[str]) -> Any:
    pixels = convert_image_to_rgb(sample["image"].permute(1, 2, 0), image_format)
    layer = Layer(TRUTH, _to_shapes(sample["instances"]))
    return overlay(np.asarray(pixels, dtype=np.uint8), [layer], classes)


def _to_shapes(instances: Instances) -> list[dict[str, Any]]:
    """Return training targets as COCO's annotations."""
    corners = instances.gt_boxes.tensor.numpy()
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    shapes = [
        {"bbox": box, "category_id": index + 1}
        for box, index in zip(boxes.tolist(), instances.gt_classes.tolist(), strict=True)
    ]
    if not instances.has("gt_masks"):  # of a model of boxes
        return shapes
    found = instances.gt_masks
    if isinstance(found, PolygonMasks):
        found = BitMasks.from_polygon_masks(found, *instances.image_size)
    for shape, mask in zip(shapes, found.tensor.numpy(), strict=True):
        shape["segmentation"] = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return shapes
