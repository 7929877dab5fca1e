"""A mask as polygons along its pixels' edges, without loss: drawn again it is the same mask.

COCO fills a polygon by crossing its edges down each column, so one ring inside another is a hole if
both are one polygon: they are joined by an edge that is gone along and back, which cancels out.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.conversion.masks import Mask

Corners = NDArray[np.int64]  # (N, 2), y and x of a corner of pixels
Ring = list[tuple[int, int]]  # of such corners


def to_polygons(mask: Mask) -> list[list[float]]:
    """Return a mask (H, W) as COCO's polygons, [x, y, x, y, ...] in whole pixels; none if empty.

    Each piece is a polygon; all are one where a piece has a hole.
    """
    rings: list[Ring] = []
    holes: list[Ring] = []
    for ring in _rings(mask):
        y, x = ring[0]  # the topmost corner of those at the left: the ring is around this pixel
        (rings if mask[y, x] else holes).append(ring)
    holes = [ring[::-1] for ring in holes]  # so that the area comes out right, too
    if holes and len(rings) > 1:  # which ring a hole is in would have to be found out
        rings, holes = [_joined([*rings, *holes])], []
    polygons = [_joined([ring, *holes]) for ring in rings]
    return [[float(side) for y, x in ring for side in (x, y)] for ring in polygons]


def _rings(mask: Mask) -> Iterator[Ring]:
    """Yield the closed outlines of a mask and of its holes, each from its first corner by rows."""
    corners = _corners(mask)
    along_row = _partners(corners)
    by_column = np.lexsort((np.arange(len(corners)), corners[:, 0], corners[:, 1]))
    along_column = np.empty(len(corners), np.int64)
    along_column[by_column] = by_column.reshape(-1, 2)[:, ::-1].ravel()
    places, sideways, updown = corners.tolist(), along_row.tolist(), along_column.tolist()
    is_left = [True] * len(places)
    for start in range(len(places)):
        ring: Ring = []
        corner = start
        while is_left[corner]:
            other = sideways[corner]
            is_left[corner] = is_left[other] = False
            ring += [tuple(places[corner]), tuple(places[other])]
            corner = updown[other]
        if ring:
            yield ring


def _corners(mask: Mask) -> Corners:
    """Return where outlines turn, row by row; twice where pixels touch by a corner only."""
    framed = np.pad(mask.view(np.uint8), 1)
    four = framed[:-1, :-1] + framed[:-1, 1:] + framed[1:, :-1] + framed[1:, 1:]
    is_diagonal = (four == 2) & (framed[:-1, :-1] == framed[1:, 1:])
    times = np.where(is_diagonal, 2, four % 2)
    y, x = np.nonzero(times)
    corners: Corners = np.repeat(np.stack([y, x], axis=1), times[y, x], axis=0)
    return corners


def _partners(corners: Corners) -> NDArray[np.int64]:
    """Return for each corner the other end of its edge along the row."""
    return np.arange(len(corners)).reshape(-1, 2)[:, ::-1].ravel()


def _joined(rings: Sequence[Ring]) -> Ring:
    """Return rings as one: each further one is gone around from the first one's start."""
    home = rings[0][0]
    joined = [*rings[0]]
    for ring in rings[1:]:
        joined += [home, *ring, ring[0]]
    return [*joined, home] if len(rings) > 1 else joined
