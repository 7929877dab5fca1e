"""Masks that overlap, cut so that each pixel belongs to one object: the one that is in front.

The release does not say which that is, so the order is a rule of thumb, named in the settings:
``smaller``: the smaller object is in front, as a person in front of a car; ``lower``: the one whose
mask reaches further down, as in a street seen from eye level what is nearer stands lower.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from oiv5_d2.conversion import masks

Record = Mapping[str, Any]

HIDDEN = "hidden by others"  # why an object is ignored of which nothing is left


def _size(record: Record) -> tuple[float, ...]:
    return -record["area"], -record["bbox"][3]


def _bottom(record: Record) -> tuple[float, ...]:
    return record["bbox"][1] + record["bbox"][3], -record["area"]


ORDERS: Mapping[str, Callable[[Record], tuple[float, ...]]] = {"smaller": _size, "lower": _bottom}
"""What is larger for an object further in front, by the name of the order."""


def cut(annotations: Sequence[Record], order: str, height: int, width: int) -> list[dict[str, Any]]:
    """Return an image's annotations with no pixel in two objects; ignored regions are as before.

    An object that lost pixels has their number as ``cut_pixels``; one that lost all becomes an
    ignored region with its former mask.

    Args:
        annotations: of one image; their masks are run lengths of its size.
        order: a key of `ORDERS`; of equal objects, the earlier annotation is in front.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    objects = [index for index, one in enumerate(annotations) if not one["iscrowd"]]
    objects.sort(key=lambda index: ORDERS[order](annotations[index]), reverse=True)
    taken, found = np.zeros((height, width), bool), [dict(one) for one in annotations]
    for index in objects:
        mask = masks.decode(found[index]["segmentation"])
        left = mask & ~taken
        taken |= mask
        if num_cut := int(mask.sum() - left.sum()):
            found[index] |= _remainder(left) | {"cut_pixels": num_cut}
    return found


def _remainder(left: masks.Mask) -> dict[str, Any]:
    """Return the fields that change of an object of which these pixels (H, W) are left."""
    if not left.any():
        return {"iscrowd": 1, "ignore_reason": HIDDEN}
    box = [float(side) for side in masks.tight_box(left)]
    return {"bbox": box, "area": int(left.sum()), "segmentation": masks.encode(left)}
