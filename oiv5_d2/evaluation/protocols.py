"""What each metric measures and where it departs from the official one, in words."""

from oiv5_d2.evaluation.detections import Detections
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.runs.results import COCO, OPEN_IMAGES, Protocol

_COCO = (
    "COCO: average precision over IoU 0.50:0.05:0.95 and 101 recalls, at most 100 detections of a "
    "class and image; iscrowd regions are ignored (pycocotools 2)"
)
_OPEN_IMAGES = (
    "Open Images Challenge 2019: average precision at IoU 0.5, the whole area under the curve; "
    "only classes that were verified on an image count; for masks, objects without a mask and "
    "group-of boxes are ignored; for boxes, a group-of box is one object (as the TensorFlow Object "
    "Detection API computes it)"
)
_TIES = "detections of equal score are ranked by their place in the file"


def describe(truth: Truth, detections: Detections) -> dict[str, Protocol]:
    """Return the protocols of COCO and Open Images, as they apply to this truth."""
    del detections
    return {
        COCO: Protocol(_COCO, _coco_deviations(truth)),
        OPEN_IMAGES: Protocol(_OPEN_IMAGES, _open_images_deviations(truth)),
    }


def _coco_deviations(truth: Truth) -> tuple[str, ...]:
    found = []
    if any(one.get("ignore_reason") for one in truth.records):
        found.append(
            "boxes without a mask, group-of boxes and depictions are iscrowd regions, which COCO "
            "has for groups only"
        )
    if truth.verified is not None and not truth.verified.all():
        found.append(
            "a detection of a class that nobody verified on its image counts as false, unless it "
            "finds an object; COCO's own annotation is complete"
        )
    return tuple(found)


def _open_images_deviations(truth: Truth) -> tuple[str, ...]:
    found = [_TIES]
    if truth.verified is None:
        found.append(
            "the truth has no verified labels: a class counts on an image only if it has an "
            "annotation there, so false detections on other images cost nothing"
        )
    if any(one.get("mask_path") and not one["iscrowd"] for one in truth.records):
        found.append("the box of an object with a mask is the mask's tight box, not the drawn one")
    filtered = [str(one.get("ignore_reason")) for one in truth.records]
    if any(one.startswith("filtered") or one == "low predicted IoU" for one in filtered):
        found.append("objects that the settings filtered count as objects without a mask")
    if any(one == "depiction" for one in filtered):
        found.append("a depiction counts as an object without a mask")
    return tuple(found)
