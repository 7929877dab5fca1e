"""Images as training gets them: through Detectron2's own mapper and augmentations."""

from typing import Any

import numpy as np

from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

# isort: split
from detectron2.config import CfgNode
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, Instances, PolygonMasks

from oiv5_d2.drawing.shapes import RgbImage, Shape
from oiv5_d2.reporting.gallery import Feed
from oiv5_d2.reporting.truth import AnnotatedImage
from oiv5_d2.training.data.augmentations import Augment
from oiv5_d2.training.data.mapper import build_mapper, derive_seed
from oiv5_d2.training.data.records import read_records


def build_feed(
    cfg: CfgNode, augment: Augment, dataset_name: str, classes: list[str], seed: int
) -> Feed:
    """Return a function that passes one image several times through the training mapper.

    Args:
        cfg: whose ``INPUT`` says how images are augmented.
        augment: the steps, as in the configs.
        dataset_name: registered.
        classes: names in the order of the contiguous ids.
        seed: with the image's id it fixes the random draws.
    """
    found = read_records([dataset_name], cfg.ANNOTATION.boxes if "ANNOTATION" in cfg else None)
    records = {record["image_id"]: record for record in found}
    mapper = build_mapper(cfg, augment, list(records.values()))

    def draw_one(record: dict[str, Any], draw: int) -> tuple[RgbImage, list[Shape]]:
        fed = mapper(record, derive_seed(seed, record["image_id"], draw))
        pixels = convert_image_to_rgb(fed["image"].permute(1, 2, 0), cfg.INPUT.FORMAT)
        shapes = _to_shapes(fed["instances"], classes)
        if "regions" in fed:
            shapes += _to_shapes(fed["regions"], classes, ignored=True)
        return np.asarray(pixels, dtype=np.uint8), shapes

    def feed(image: AnnotatedImage, num_draws: int) -> list[tuple[RgbImage, list[Shape]]]:
        record = records[image.record["id"]]
        return [draw_one(record, draw) for draw in range(num_draws)]

    return feed


def _to_shapes(instances: Instances, classes: list[str], ignored: bool = False) -> list[Shape]:
    names = [classes[index] for index in instances.gt_classes.tolist()]
    boxes = instances.gt_boxes.tensor.tolist()
    masks: list[Any] = [None] * len(instances)  # of a model of boxes
    if instances.has("gt_masks"):
        found = instances.gt_masks
        if isinstance(found, PolygonMasks):
            found = BitMasks.from_polygon_masks(found, *instances.image_size)
        masks = list(found.tensor.numpy())
    if instances.has("gt_has_mask") and not ignored:
        is_box = zip(masks, instances.gt_has_mask.tolist(), strict=True)
        masks = [mask if has_mask else None for mask, has_mask in is_box]
    return [Shape(n, tuple(b), m, n, ignored) for n, b, m in zip(names, boxes, masks, strict=True)]
