"""What an annotation of any tool says of its object: its box and its mask, as run lengths.

What cannot be understood without a guess is a ValueError, whose message begins with "its".
"""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from pycocotools import mask as coco_mask

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.records import EMPTY_MASK
from oiv5_d2.conversion.run_lengths import is_of_size

CROWD, NO_MASK = "crowd", "no mask"  # why an object is ignored
_SLACK = 2.0  # pixels that a box may leave its image by; half of it, that two boxes may be apart
_ALIKE = 0.9  # overlap from which two boxes are the same
_APART = 0.5  # and below which they are not
_LARGEST = 2.0**31  # a coordinate is smaller; a NaN is not

Box = list[float]


def read_region(record: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    """Return an annotation's bbox, area, iscrowd, segmentation and ignore_reason.

    An object without a mask becomes an ignored region with the shape of its box.

    Args:
        record: with bbox (xywh_abs), segmentation (polygons, or run lengths in text or numbers) and
            iscrowd, each of which may be missing.
        height: of the image in pixels.
        width: of the image in pixels.

    Raises:
        ValueError: it cannot be understood; the message has the facts.
    """
    box = _read_box(record.get("bbox"))
    rle = _read_mask(record.get("segmentation"), height, width)
    reason = record.get("ignore_reason") or (CROWD if record.get("iscrowd") else "")
    area = int(coco_mask.area(rle)) if rle else 0
    ends = _inside(box, height, width) if box else None
    if rle and area:
        tight = [float(side) for side in coco_mask.toBbox(rle)]
        region = {"bbox": _fitting(box, tight), "area": area, "segmentation": rle}
    elif box and ends:
        drawn = masks.encode_box(ends, height, width)
        box = box if min(box[2:]) > 0 else [float(side) for side in drawn.box]
        region = {"bbox": box, "area": drawn.area, "segmentation": drawn.rle}
        reason = reason or (EMPTY_MASK if rle else NO_MASK)
    else:
        raise ValueError("its mask and its box are missing")
    return {**region, "iscrowd": int(bool(reason)), "ignore_reason": reason}


def _read_box(box: Any) -> Box | None:
    """Return an xywh_abs box; None where there is none."""
    if box is None or box == []:
        return None
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        raise ValueError(f"its bbox {box!r:.80} is not four numbers")
    if min(box[2:]) < 0:
        raise ValueError(f"its bbox {box!r} has a negative side: a bbox is x, y, width, height")
    return [float(side) for side in box]


def _fitting(box: Box | None, tight: Box) -> Box:
    """Return the box to use of an object with a mask, whose own box is `tight`.

    A tool's box may be larger than its mask, where the object is hidden in part. One that would fit
    as x0, y0, x1, y1, or that is elsewhere, is a mistake.
    """
    if box is None or min(box[2:]) == 0:
        return tight
    corners = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    is_corners = _overlap(corners, tight) > _ALIKE and _overlap(box, tight) < _APART
    if is_corners or _overlap(_grown(box), _grown(tight)) == 0:
        what = "is x0, y0, x1, y1" if is_corners else f"is not where its mask is, at {tight}"
        raise ValueError(f"its bbox {box} {what}: a bbox is x, y, width, height")
    return box


def _inside(box: Box, height: int, width: int) -> masks.RelBox:
    """Return an xywh_abs box as fractions of its image's sides, kept inside."""
    x, y, w, h = box
    most_x, most_y = max(_SLACK, width / 100), max(_SLACK, height / 100)
    if x < -most_x or y < -most_y or x + w > width + most_x or y + h > height + most_y:
        what = f"leaves its image of {width} x {height} px: a bbox is x, y, width, height"
        raise ValueError(f"its bbox {box} {what}")
    sides = (x / width, y / height, (x + w) / width, (y + h) / height)
    return masks.RelBox(*(min(max(side, 0.0), 1.0) for side in sides))


def _grown(box: Box) -> Box:
    x, y, w, h = box
    return [x - _SLACK / 2, y - _SLACK / 2, w + _SLACK, h + _SLACK]


def _overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two xywh boxes; 0 if one has a side below 0."""
    if min(*one[2:], *other[2:]) < 0:
        return 0.0
    return float(coco_mask.iou([one], [other], [0])[0][0])


def _read_mask(segmentation: Any, height: int, width: int) -> dict[str, Any] | None:
    """Return COCO's run lengths of any of its forms; None where there is no outline."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return _read_run_lengths(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise ValueError(f"its segmentation is a {type(segmentation).__name__}")
    polygons = [polygon for polygon in segmentation if polygon]
    for polygon in polygons:
        _check_polygon(polygon, height, width)
    if not polygons:
        return None
    return _text(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def _read_run_lengths(found: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    counts, size = found.get("counts"), found.get("size")
    if size != [height, width]:
        what = f"{size!r:.80}, its image's {[height, width]} (height, width)"
        raise ValueError(f"its mask's size is {what}")
    if not isinstance(counts, str | list) or not is_of_size(counts, height * width):
        raise ValueError("its run lengths are damaged")
    if isinstance(counts, str):
        return {"size": size, "counts": counts}
    return _text(coco_mask.frPyObjects(found, height, width))


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    is_outline = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
    if not is_outline or not all(map(_is_number, polygon)):
        raise ValueError("its polygon needs at least three points, as x, y, x, y, ...")
    # pycocotools draws what is outside as well: its memory grows with the distance.
    places = zip(polygon, cycle([width, height]), strict=False)
    if not all(-side <= place <= 2 * side for place, side in places):
        raise ValueError(f"its polygon is far outside of its image of {width} x {height} px")


def _text(rle: Mapping[str, Any]) -> dict[str, Any]:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
