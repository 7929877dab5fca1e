"""COCO records of one image and of one object.

A record holds what COCO asks for, and what else the release says that a reader may want later.
Boxes and areas are those of the mask at the image's size, not of the annotator's box.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oiv5_d2.acquisition.jpeg import Header
from oiv5_d2.acquisition.shards import read_mask_file
from oiv5_d2.conversion import masks
from oiv5_d2.conversion.masks import Mask, RelBox
from oiv5_d2.openimages.release import ATTRIBUTES
from oiv5_d2.selection.objects import LOW_IOU, NO_MASK

MISSING_MASK, UNREADABLE_MASK = "missing mask", "unreadable mask"
EMPTY_MASK, VANISHED_MASK = "empty mask", "mask vanishes when resized"
# Reasons to ignore an annotation that is one real object all the same: its box is right.
REAL_OBJECTS = frozenset(
    {NO_MASK, LOW_IOU, MISSING_MASK, UNREADABLE_MASK, EMPTY_MASK, VANISHED_MASK}
)

_ATTRIBUTE_KEYS = ("is_occluded", "is_truncated", "is_group_of", "is_depiction", "is_inside")
_ATTRIBUTES = tuple(zip(_ATTRIBUTE_KEYS, ATTRIBUTES, strict=True))
_BOX_DECIMALS = 3  # of a pixel: the release's six decimals of a side of 1024


def image_record(
    row: Any, key: str, header: Header, category_ids: Mapping[str, int]
) -> dict[str, Any]:
    """Return the COCO record of an image.

    Args:
        row: a row of ``Chunk.images``, its columns as attributes.
        key: of the image in its bucket, which is also its file name in the data set.
        header: the JPG's header.
        category_ids: category id by class name.
    """
    return {
        "id": row.Id,
        "file_name": key,
        "height": header.height,
        "width": header.width,
        "open_images_id": row.ImageID,
        "positive_category_ids": _ids(row.PositiveClasses, category_ids),
        "negative_category_ids": _ids(row.NegativeClasses, category_ids),
        "license": row.LicenseId,
        "author": row.Author,
        "author_url": row.AuthorProfileURL,
        "landing_url": row.OriginalLandingURL,
        "title": row.Title,
        "rotation": _or_none(row.Rotation),
    }


def annotation_record(row: Any, image: Mapping[str, Any], masks_dir: Path) -> dict[str, Any]:
    """Return the COCO record of an object; its mask file is read.

    An object that is ignored, or whose mask is not available, becomes a crowd region with the shape
    of its box: evaluation ignores detections there. ``ignore_reason`` says why; "" marks a training
    target.

    Args:
        row: a row of ``Chunk.instances``, its columns as attributes.
        image: the record of its image.
        masks_dir: where the mask zips are.
    """
    size = image["height"], image["width"]
    split = image["file_name"].split("/")[0]
    mask, reason = (None, row.Ignore) if row.Ignore else _read_mask(row, split, masks_dir)
    region = None if mask is None else masks.encode_resized(mask, *size)
    if mask is not None and region is not None and not region.area:
        region, reason = None, VANISHED_MASK if mask.any() else EMPTY_MASK
    released = RelBox(row.XMin, row.YMin, row.XMax, row.YMax)
    box = region.box if region else masks.to_xywh_abs(released, *size)
    region = region or masks.encode_box(released, *size)
    return {
        "id": row.Id,
        "image_id": image["id"],
        "category_id": row.CategoryId,
        # Floats even if whole: Detectron2 scales a box in the type that it finds.
        "bbox": [round(float(side), _BOX_DECIMALS) for side in box],
        "area": region.area,
        "iscrowd": int(bool(reason)),
        "segmentation": region.rle,
        "label": row.LabelName,
        "box_id": row.BoxID,
        "mask_path": row.MaskPath,
        "predicted_iou": _or_none(row.PredictedIoU),
        **{key: int(getattr(row, column)) for key, column in _ATTRIBUTES},
        # Not "ignore": Detectron2 refuses a file with such a key.
        "ignore_reason": reason,
        # Only where it says that image and mask do not belong together.
        **_odd_size(mask, size),
    }


def _odd_size(mask: Mask | None, image: tuple[int, int]) -> dict[str, Any]:
    if mask is None or have_same_aspect(mask.shape, image):
        return {}
    return {"mask_size": list(mask.shape)}


def have_same_aspect(mask: Sequence[int], image: Sequence[int]) -> bool:
    """Return True if two sizes, (height, width), are of one shape but for a rounding pixel each."""
    (height, width), (rows, columns) = mask, image
    along_height = abs(height - width * rows / columns) <= 1 + height / rows
    return along_height or abs(width - height * columns / rows) <= 1 + width / columns


def _read_mask(row: Any, split: str, masks_dir: Path) -> tuple[Mask | None, str]:
    """Return the object's mask at its own size, or None and the reason."""
    try:
        return masks.read_png(read_mask_file(masks_dir, split, row.ImageID, row.MaskPath)), ""
    except FileNotFoundError:
        return None, MISSING_MASK
    except ValueError:
        return None, UNREADABLE_MASK


def _ids(names: str, category_ids: Mapping[str, int]) -> list[int]:
    """Return the sorted category ids of class names joined by '|'."""
    return sorted(category_ids[name] for name in names.split("|") if name)


def _or_none(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if math.isnan(value) else float(value)
