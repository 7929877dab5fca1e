"""What an annotation of any tool says of its object: its box and its mask, as run lengths.

What cannot be understood without a guess is a ValueError, whose message begins with "its".
"""

from collections.abc import Mapping, Sequence
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
_TRIANGLE = 6  # numbers of the smallest polygon
_YES, _NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
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
    polygons = _read_polygons(record.get("segmentation"), height, width)
    box = _read_box(record.get("bbox"))
    if box and polygons:
        box = _cut(box, polygons, height, width)
    rle = _read_mask(record.get("segmentation"), polygons, height, width)
    is_crowd = _flag(record, "iscrowd") or _flag(record, "ignore")
    reason = record.get("ignore_reason") or (CROWD if is_crowd else "")
    area = int(coco_mask.area(rle)) if rle else 0
    ends = _inside(box, height, width) if box else None
    if rle and area:
        tight = [float(side) for side in coco_mask.toBbox(rle)]
        region = {"bbox": _fitting(box, tight), "area": area, "segmentation": rle}
    elif box and ends:
        _refuse_shares(box, "bbox has fractions")
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


def _flag(record: Mapping[str, Any], key: str) -> bool:
    """Return what 0 or 1, yes or no, or nothing means."""
    value = record.get(key)
    text = str(value).lower()
    if value is not None and text not in _YES | _NO:
        raise ValueError(f"its {key} {value!r:.80} is not 0 or 1")
    return text in _YES


def _cut(box: Box, polygons: Sequence[Sequence[float]], height: int, width: int) -> Box:
    """Return an xywh_abs box, cut at the image's sides if its polygons leave the image as well."""
    xs, ys = ([x for one in polygons for x in one[start::2]] for start in (0, 1))
    x0, y0 = min(xs), min(ys)
    if _overlap(box, [x0, y0, max(xs) - x0, max(ys) - y0]) <= _ALIKE:
        return box
    x1, y1 = min(box[0] + box[2], width), min(box[1] + box[3], height)
    x0, y0 = max(box[0], 0.0), max(box[1], 0.0)
    return [x0, y0, max(x1 - x0, 0.0), max(y1 - y0, 0.0)]


def _read_mask(
    segmentation: Any, polygons: Sequence[Sequence[float]], height: int, width: int
) -> dict[str, Any] | None:
    """Return COCO's run lengths of any of its forms; None where there is no outline."""
    if polygons:
        return _text(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    if isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], dict):
        segmentation = segmentation[0] if len(segmentation) == 1 else "list of objects"
    if not segmentation or isinstance(segmentation, list):
        return None
    if not isinstance(segmentation, dict):
        raise ValueError(f"its segmentation is a {type(segmentation).__name__}")
    return _read_run_lengths(segmentation, height, width)


def _read_polygons(segmentation: Any, height: int, width: int) -> list[list[float]]:
    """Return polygons as x, y, x, y, ...; those of one or two points, which have no area, not.

    A single one without a list around it is taken as well, and one of points, [[x, y], ...].
    """
    if not isinstance(segmentation, list) or isinstance(next(iter(segmentation), None), dict):
        return []
    is_single = bool(segmentation) and (
        all(map(_is_number, segmentation)) or all(map(_is_point, segmentation))
    )
    polygons = [_flat(one) for one in ([segmentation] if is_single else segmentation)]
    for polygon in polygons:
        _check_polygon(polygon, height, width)
    found = [polygon for polygon in polygons if len(polygon) >= _TRIANGLE]
    if found:
        _refuse_shares([place for one in found for place in one], "polygon has fractions")
    return found


def _flat(polygon: Any) -> Any:
    is_of_points = isinstance(polygon, list) and polygon and all(map(_is_point, polygon))
    return [place for point in polygon for place in point] if is_of_points else polygon


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _refuse_shares(places: Sequence[float], what: str) -> None:
    """Refuse coordinates that are fractions of the image's sides: all are inside its first pixel.

    Args:
        places: of a polygon or a box.
        what: how the message about them begins.
    """
    if all(0 < place < 1 for place in places):
        raise ValueError(f"its {what} of the image's sides: COCO has pixels")


def _read_run_lengths(found: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    counts, size = found.get("counts"), found.get("size")
    if isinstance(counts, list):  # pandas makes 7.0 of 7
        counts = [int(n) if isinstance(n, float) and n.is_integer() else n for n in counts]
    if size != [height, width]:
        what = f"{size!r:.80}, its image's {[height, width]} (height, width)"
        raise ValueError(f"its mask's size is {what}")
    if not isinstance(counts, str | list) or not is_of_size(counts, height * width):
        raise ValueError("its run lengths are damaged")
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts}
    return _text(coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width))


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    is_outline = isinstance(polygon, list) and len(polygon) % 2 == 0
    if not is_outline or not all(map(_is_number, polygon)):
        raise ValueError("its polygon is not a list of numbers: x, y, x, y, ...")
    # pycocotools draws what is outside as well: its memory grows with the distance.
    places = zip(polygon, cycle([width, height]), strict=False)
    if not all(-side <= place <= 2 * side for place, side in places):
        raise ValueError(f"its polygon is far outside of its image of {width} x {height} px")


def _text(rle: Mapping[str, Any]) -> dict[str, Any]:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
