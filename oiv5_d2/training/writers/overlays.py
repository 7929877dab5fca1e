"""Images with boxes and masks as W&B's own overlays, which its pages switch on and off by class."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

Pixels = NDArray[np.uint8]

SIDE = 640  # pixels, of every image: W&B shows only equal sizes in one panel; about 60 kB
MARGIN = 114  # grey of what an image does not fill
BACKGROUND = 0  # in a mask; classes have their category ids
TRUTH, PREDICTION = "truth", "prediction"
IGNORED = "ignored"


class Layer(NamedTuple):
    """What is drawn over an image.

    Attributes:
        name: under which W&B switches it.
        shapes: entries of COCO's annotations or result format.
    """

    name: str
    shapes: Sequence[Mapping[str, Any]]


def label_classes(classes: Sequence[str]) -> dict[int, str]:
    """Return names by category id, with one more for ignored regions."""
    return dict(enumerate([*classes, IGNORED], start=1))


def overlay(
    pixels: Pixels, layers: Sequence[Layer], classes: Sequence[str], caption: str = ""
) -> Any:
    """Return W&B's image: `SIDE` pixels high and wide, with a margin to the right or below.

    Args:
        pixels: (H, W, 3) RGB.
        layers: over it, in the pixels of H and W.
        classes: display names, in the order of their category ids.
        caption: below it.
    """
    import wandb

    labels = label_classes(classes)
    size = (pixels.shape[0], pixels.shape[1])
    boxes = {
        one.name: {"box_data": _to_boxes(one.shapes, labels, size), "class_labels": labels}
        for one in layers
    }
    masks = {
        one.name: {"mask_data": _fit(painted, BACKGROUND), "class_labels": labels}
        for one in layers
        if (painted := _paint(one.shapes, max(labels), size)) is not None
    }
    image = _fit(pixels, MARGIN)
    return wandb.Image(image, file_type="jpg", caption=caption, boxes=boxes, masks=masks)


def _fit(pixels: Pixels, margin: int) -> Pixels:
    """Return an image, or a mask, in a square of `SIDE` pixels."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    is_mask = pixels.ndim == 2
    how = cv2.INTER_NEAREST if is_mask else cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.full((SIDE, SIDE, *pixels.shape[2:]), margin, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=how)
    return canvas


def _to_boxes(
    shapes: Sequence[Mapping[str, Any]], labels: Mapping[int, str], size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Return W&B's boxes, in fractions of the square; of an image of (height, width)."""
    longest = max(size)
    found = []
    for shape in (one for one in shapes if not one.get("iscrowd")):
        x, y, w, h = (value / longest for value in shape["bbox"])
        name = labels[shape["category_id"]]
        sides = {"minX": x, "maxX": x + w, "minY": y, "maxY": y + h}
        box = {"position": sides, "class_id": shape["category_id"], "box_caption": name}
        if "score" in shape:
            score = round(float(shape["score"]), 3)
            box |= {"box_caption": f"{name} {score:.2f}", "scores": {"score": score}}
        found.append(box)
    return found


def _paint(
    shapes: Sequence[Mapping[str, Any]], ignored: int, size: tuple[int, int]
) -> Pixels | None:
    """Return (H, W) category ids; None without any mask.

    Small objects lie above large ones, and all above ignored regions.

    Args:
        shapes: entries of COCO's annotations or result format.
        ignored: the id of ignored regions.
        size: (height, width).
    """
    with_mask = [one for one in shapes if one.get("segmentation")]
    if not with_mask:
        return None
    canvas = np.full(size, BACKGROUND, np.uint8)
    areas = [float(run_lengths.area(one["segmentation"])) for one in with_mask]
    order = sorted(range(len(areas)), key=lambda i: (not with_mask[i].get("iscrowd"), -areas[i]))
    for one in (with_mask[i] for i in order):
        inside = run_lengths.decode(one["segmentation"]) > 0
        canvas[inside] = ignored if one.get("iscrowd") else one["category_id"]
    return canvas
