"""Training targets of an image's annotations: Detectron2's, to the bit, without whole masks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances, polygons_to_bitmask
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from oiv5_d2.conversion.run_lengths import read
from oiv5_d2.training.data.cropped_masks import CroppedMasks, Window
from oiv5_d2.training.data.lookups import Lookup, Size, find_lookup, find_shown

Annotation = Mapping[str, Any]  # one object in Detectron2's format
Crop = tuple[Window, torch.Tensor]


class Drawn(NamedTuple):
    """An object in its box, not augmented.

    Attributes:
        x0: the box's first column.
        y0: its first row.
        columns: (w, h) uint8, 1 where the object is: column by column, as run lengths go.
    """

    x0: int
    y0: int
    columns: NDArray[np.uint8]


def move_boxes(
    annotations: Sequence[Annotation], transforms: T.TransformList, size: Size
) -> NDArray[np.float64]:
    """Return the boxes on the augmented image, (N, 4) XYXY in pixels, cut off at its border.

    Args:
        annotations: of the image as it was.
        transforms: that the image went through.
        size: (height, width) of the augmented image.
    """
    if not annotations:
        return np.zeros((0, 4))
    height, width = size
    moved = transforms.apply_box(_corners(annotations)).clip(min=0)
    cut: NDArray[np.float64] = np.minimum(moved, [width, height, width, height])
    return cut


def _corners(annotations: Sequence[Annotation]) -> NDArray[np.float64]:
    """Return boxes as XYXY, added in 32 bits as Detectron2 does for each."""
    if all(one["bbox_mode"] == BoxMode.XYWH_ABS for one in annotations):
        boxes = np.array([one["bbox"] for one in annotations], dtype=np.float32)
        boxes[:, 2:] += boxes[:, :2]
        return boxes.astype(np.float64)
    found = (BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations)
    return np.array(list(found), dtype=np.float64)


def to_instances(
    annotations: Sequence[Annotation], boxes: NDArray[np.float64], size: Size
) -> Instances:
    """Return boxes and classes of objects.

    Args:
        annotations: of which the classes are taken.
        boxes: (N, 4), as `move_boxes` returns them.
        size: (height, width) of the augmented image.
    """
    found = Instances(size)
    found.gt_boxes = Boxes(boxes)
    classes = [int(one["category_id"]) for one in annotations]
    found.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return found


def move_masks(
    annotations: Sequence[Annotation], transforms: T.TransformList, before: Size, size: Size
) -> CroppedMasks:
    """Return the masks on the augmented image.

    Args:
        annotations: with a ``segmentation`` each: run lengths or polygons.
        transforms: that the image went through.
        before: (height, width) of the image before them.
        size: of the augmented image.
    """
    lookup = find_lookup(transforms, before)
    whole = [one["segmentation"] for one in annotations]
    lengths = _read_lengths(whole, before) if lookup is not None else None
    if lookup is None or lengths is None:
        crops = [_move_whole(one, transforms, size) for one in whole]
        return CroppedMasks.of_crops(size, *zip(*crops, strict=True))
    return _look_up([_draw(one, before[0]) for one in lengths], lookup, size)


def _read_lengths(segmentations: Sequence[Any], size: Size) -> list[NDArray[np.int64]] | None:
    """Return run lengths of images of a size; None if something else is among them."""
    if any(isinstance(one, list) or tuple(one["size"]) != size for one in segmentations):
        return None
    counts = (one["counts"] for one in segmentations)
    found = read([one if isinstance(one, str) else one.decode("ascii") for one in counts])
    is_right = found is not None and all(one.sum() == size[0] * size[1] for one in found)
    return found if is_right else None


def _move_whole(segmentation: Any, transforms: T.TransformList, size: Size) -> Crop:
    """Return an augmented mask's crop by way of the whole mask, as Detectron2 makes it."""
    if isinstance(segmentation, list):
        polygons = [np.array(one).reshape(-1, 2) for one in segmentation]
        moved = [one.reshape(-1) for one in transforms.apply_polygons(polygons)]
        mask = polygons_to_bitmask(moved, *size)
    else:
        mask = transforms.apply_segmentation(run_lengths.decode(segmentation))
    pixels = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.bool_))
    found = CroppedMasks.of_masks(pixels[None])
    return found.windows[0], found.crops()[0]


def _draw(lengths: NDArray[np.int64], height: int) -> Drawn:
    """Return a mask's object in its box.

    Args:
        lengths: of background and object in turn, down one column after the other.
        height: of the image.
    """
    ends = np.cumsum(lengths)
    starts, stops = ends[: len(ends) // 2 * 2].reshape(-1, 2).T
    if not (starts < stops).all():
        starts, stops = (one[starts < stops] for one in (starts, stops))
    if not len(starts):
        return Drawn(0, 0, np.zeros((0, 0), np.uint8))
    (x, y), (last_x, last_y) = (divmod(one, height) for one in (starts, stops - 1))
    x0, num_columns = int(x[0]), int(last_x[-1] - x[0]) + 1
    y0, y1 = (0, height) if (x != last_x).any() else (int(y.min()), int(last_y.max()) + 1)
    edges = np.zeros(2 * len(starts) + 2, dtype=np.int64)  # of background and object in turn
    edges[1:-1:2] = (x - x0) * (y1 - y0) + y - y0
    edges[2:-1:2] = edges[1:-1:2] + stops - starts
    edges[-1] = num_columns * (y1 - y0)
    is_object = np.arange(len(edges) - 1, dtype=np.uint8) % 2
    columns = is_object.repeat(np.diff(edges)).reshape(num_columns, y1 - y0)
    return Drawn(x0, y0, columns)


def _look_up(objects: Sequence[Drawn], lookup: Lookup, size: Size) -> CroppedMasks:
    """Return drawn objects on the augmented image."""
    x0, y0 = (np.array([one[axis] for one in objects]) for axis in (0, 1))
    widths, heights = (np.array([one.columns.shape[axis] for one in objects]) for axis in (0, 1))
    across = find_shown(lookup.columns, x0, x0 + widths)
    down = find_shown(lookup.rows, y0, y0 + heights)
    windows = list(map(Window, across.begins, down.begins, across.ends, down.ends))
    crops = []
    for one, window in zip(objects, windows, strict=True):
        rows = lookup.rows[window.y0 : window.y1] - one.y0
        columns = lookup.columns[window.x0 : window.x1] - one.x0
        moved = one.columns.take(rows, axis=1).take(columns, axis=0)
        pixels = cv2.transpose(moved) if moved.size else moved.T
        crops.append(torch.from_numpy(np.asarray(pixels).view(np.bool_)))
    return CroppedMasks.of_crops(size, windows, crops)
