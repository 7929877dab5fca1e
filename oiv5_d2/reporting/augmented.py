"""Images as training gets them: through Detectron2's own mapper and augmentations."""

from typing import Any

import numpy as np

from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

# isort: split
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, Instances, PolygonMasks

from oiv5_d2.drawing.shapes import RgbImage, Shape
from oiv5_d2.reporting.gallery import Feed
from oiv5_d2.reporting.truth import AnnotatedImage
from oiv5_d2.training.data.mapper import build_mapper, derive_seed


def build_feed(cfg: CfgNode, dataset_name: str, classes: list[str], seed: int) -> Feed:
    """Return a function that passes one image several times through the training mapper.

    Args:
        cfg: whose ``INPUT`` says how images are augmented.
        dataset_name: registered.
        classes: names in the order of the contiguous ids.
        seed: with the image's id it fixes the random draws.
    """
    records: dict[int, dict[str, Any]] = {
        d["image_id"]: d for d in DatasetCatalog.get(dataset_name)
    }
    mapper = build_mapper(cfg)

    def feed(image: AnnotatedImage, num_draws: int) -> list[tuple[RgbImage, list[Shape]]]:
        id_ = image.record["id"]
        fed = [mapper(records[id_], derive_seed(seed, id_, draw)) for draw in range(num_draws)]
        return [
            (_to_rgb(one["image"], cfg.INPUT.FORMAT), _to_shapes(one["instances"], classes))
            for one in fed
        ]

    return feed


def _to_rgb(image: Any, image_format: str) -> RgbImage:
    """Return a (3, H, W) tensor as (H, W, 3) uint8, RGB."""
    return np.asarray(convert_image_to_rgb(image.permute(1, 2, 0), image_format), dtype=np.uint8)


def _to_shapes(instances: Instances, classes: list[str]) -> list[Shape]:
    names = [classes[index] for index in instances.gt_classes.tolist()]
    boxes = instances.gt_boxes.tensor.tolist()
    found = _to_arrays(instances)
    return [Shape(n, tuple(b), m, n) for n, b, m in zip(names, boxes, found, strict=True)]


def _to_arrays(instances: Instances) -> list[Any]:
    """Return each object's (H, W) bool mask, or Nones for a model of boxes."""
    if not instances.has("gt_masks"):
        return [None] * len(instances)
    found = instances.gt_masks
    if isinstance(found, PolygonMasks):
        found = BitMasks.from_polygon_masks(found, *instances.image_size)
    return list(found.tensor.numpy())
