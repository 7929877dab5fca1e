"""Training targets of an image's annotations: Detectron2's, to the bit, without whole masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances, polygons_to_bitmask
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from oiv5_d2.conversion.run_lengths import read
from oiv5_d2.training.data.cropped_masks import CroppedMasks, Window
from oiv5_d2.training.data.lookups import Axis, Lookup, Size, find_lookup

Annotation = Mapping[str, Any]  # one object in Detectron2's format
Crop = tuple[Window, torch.Tensor]


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
    return np.minimum(moved, [width, height, width, height])


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
    moved = [_move(one["segmentation"], transforms, lookup, before, size) for one in annotations]
    return CroppedMasks.of_crops(size, [window for window, _ in moved], [crop for _, crop in moved])


def _move(
    segmentation: Any, transforms: T.TransformList, lookup: Lookup | None, before: Size, size: Size
) -> Crop:
    if isinstance(segmentation, list):
        polygons = [np.asarray(one).reshape(-1, 2) for one in segmentation]
        moved = [one.reshape(-1) for one in transforms.apply_polygons(polygons)]
        return _whole(polygons_to_bitmask(moved, *size))
    if lookup is not None and tuple(segmentation["size"]) == before:
        counts = segmentation["counts"]
        lengths = read(counts if isinstance(counts, str) else counts.decode("ascii"))
        if lengths is not None and lengths.sum() == before[0] * before[1]:
            return _look_up(lengths, before[0], lookup)
    return _whole(transforms.apply_segmentation(run_lengths.decode(segmentation)))


def _whole(mask: NDArray[Any]) -> Crop:
    """Return the crop of a whole mask."""
    found = CroppedMasks.of_masks(torch.from_numpy(np.ascontiguousarray(mask, dtype=np.bool_))[None])
    return found.windows[0], found.crops()[0]


def _look_up(lengths: NDArray[np.int64], height: int, lookup: Lookup) -> Crop:
    """Return the augmented mask of run lengths.

    Args:
        lengths: of background and object in turn, down one column after the other.
        height: of the image that they are of.
        lookup: where the augmented mask's pixels come from.
    """
    ends = np.cumsum(lengths)
    starts, stops = ends[: len(ends) // 2 * 2].reshape(-1, 2).T
    is_run = starts < stops
    starts, stops = starts[is_run], stops[is_run]
    if not len(starts):
        return Window(0, 0, 0, 0), torch.zeros((0, 0), dtype=torch.bool)
    corner, columns = _draw(starts, stops, height)
    x0, x1, from_columns = _shown(lookup.columns, corner[0], columns.shape[0])
    y0, y1, from_rows = _shown(lookup.rows, corner[1], columns.shape[1])
    moved = columns.take(from_rows, axis=1).take(from_columns, axis=0)
    return Window(x0, y0, x1, y1), torch.from_numpy(moved.T)


def _draw(
    starts: NDArray[np.int64], stops: NDArray[np.int64], height: int
) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Return the corner (x, y) of an object and its pixels in its box, (w, h): column by column."""
    (x, y), (last_x, last_y) = (divmod(one, height) for one in (starts, stops - 1))
    x0, num_columns = int(x[0]), int(last_x[-1] - x[0]) + 1
    y0, y1 = (0, height) if (x != last_x).any() else (int(y.min()), int(last_y.max()) + 1)
    edges = np.zeros(2 * len(starts) + 2, dtype=np.int64)  # of background and object in turn
    edges[1:-1:2] = (x - x0) * (y1 - y0) + y - y0
    edges[2:-1:2] = edges[1:-1:2] + stops - starts
    edges[-1] = num_columns * (y1 - y0)
    is_object = np.arange(len(edges) - 1) % 2 == 1
    return (x0, y0), is_object.repeat(np.diff(edges)).reshape(num_columns, y1 - y0)


def _shown(axis: Axis, first: int, count: int) -> tuple[int, int, Axis]:
    """Return the first and last position that show pixels of a range, and which they show."""
    positions = np.flatnonzero((axis >= first) & (axis < first + count))
    if not len(positions):
        return 0, 0, axis[:0]
    begin, end = int(positions[0]), int(positions[-1]) + 1
    return begin, end, axis[begin:end] - first
