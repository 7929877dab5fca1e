"""Which detections and truths share an image and a class, and how much they overlap."""

import numpy as np
from hotcoco.primitives import mask_iou
from numpy.typing import NDArray

from oiv5_d2.evaluation.masks import CHUNK, Masks

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def pair_up(left: Indices, right: Indices) -> tuple[Indices, Indices]:
    """Return the positions of all pairs with the same key, ordered by left, then by right.

    Args:
        left: (N,) keys, such as image and class in one number.
        right: (M,) keys.
    """
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right[order], left, side="left")
    number = np.searchsorted(right[order], left, side="right") - first
    lefts = np.repeat(np.arange(len(left)), number)
    within = np.arange(len(lefts)) - np.repeat(np.cumsum(number) - number, number)
    return lefts, order[np.repeat(first, number) + within]


def to_corners(boxes: Floats, sizes: NDArray[np.int32]) -> Floats:
    """Return (N, 4) xywh in pixels as (N, 4) x0, y0, x1, y1 in fractions of the image's sides.

    Args:
        boxes: in pixels.
        sizes: (N, 2) height and width of the images.
    """
    sides = np.tile(sizes[:, ::-1], 2)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    fractions: Floats = corners / sides
    return fractions


def box_ious(left: Floats, right: Floats) -> Floats:
    """Return the IoU of N pairs of boxes, (N, 4) corners each; 0 for boxes without area."""
    shared = _shared(left, right)
    union = _areas(left) + _areas(right) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def crowd_box_ious(left: Floats, right: Floats, is_crowd: NDArray[np.bool_]) -> Floats:
    """Return the IoU of N pairs of boxes, xywh; with a crowd, the share of the left box in it."""
    start = np.maximum(left[:, :2], right[:, :2])
    sides = np.minimum(left[:, :2] + left[:, 2:], right[:, :2] + right[:, 2:]) - start
    shared = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    area = left[:, 2] * left[:, 3]
    union = np.where(is_crowd, area, area + right[:, 2] * right[:, 3] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def may_be_half(
    left: Floats, right: Floats | Indices, is_crowd: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return for N pairs, from their areas alone, False where the overlap is below one half.

    Args:
        left: (N,) areas of detections.
        right: (N,) areas of truths.
        is_crowd: (N,) of the truths: the overlap is the share of the detection, not the IoU.
    """
    may: NDArray[np.bool_] = (right >= left / 2) & (is_crowd | (left >= right / 2))
    return may


def box_shares(left: Floats, right: Floats) -> Floats:
    """Return for N pairs of boxes, as corners, the share of the left one inside the right one."""
    area = _areas(left)
    return np.divide(_shared(left, right), area, out=np.zeros_like(area), where=area > 0)


def _shared(left: Floats, right: Floats) -> Floats:
    start = np.maximum(left[:, :2], right[:, :2])
    sides = np.maximum(np.minimum(left[:, 2:], right[:, 2:]) - start, 0.0)
    area: Floats = sides[:, 1] * sides[:, 0]
    return area


def _areas(corners: Floats) -> Floats:
    sides = corners[:, 2:] - corners[:, :2]
    area: Floats = sides[:, 1] * sides[:, 0]
    return area


def mask_ious(
    left: Masks, right: Masks, pairs: tuple[Indices, Indices], is_crowd: NDArray[np.bool_]
) -> Floats:
    """Return the IoU of pairs of masks; with a crowd, the share of the left mask inside it.

    Args:
        left: masks of detections.
        right: masks of truths.
        pairs: positions in both.
        is_crowd: (M,) of the truths.
    """
    overlaps = np.zeros(len(pairs[0]))
    order = np.argsort(pairs[1], kind="stable")
    for start in range(0, len(order), CHUNK):
        some = order[start : start + CHUNK]
        truths, first = np.unique(pairs[1][some], return_index=True)
        found, sought = left.outlines(pairs[0][some]), right.outlines(truths)
        edges = [*first.tolist(), len(some)]
        overlaps[some] = np.concatenate(
            [
                mask_iou(found[a:b], [outline], [crowd])[:, 0]
                for a, b, outline, crowd in zip(
                    edges, edges[1:], sought, is_crowd[truths].tolist(), strict=False
                )
            ]
        )
    return overlaps
