"""One object's mask: read from its PNG, resized to the image's, encoded as run lengths.

A mask PNG rarely has its JPG's size, and the aspect may be off by a rounding pixel, so each axis
is resized on its own. The rule: a target pixel takes the source pixel that its centre falls into,
in exact integers: target column ``x`` of ``W`` takes source column ``(2 x + 1) w // (2 W)``.
OpenCV's ``INTER_NEAREST`` takes the source under the pixel's upper left corner, which moves an
outline by up to half a pixel; its ``INTER_NEAREST_EXACT`` and Pillow's ``NEAREST`` follow this rule
too, but round where a centre falls on an edge.

The converter runs ``encode_resized``. ``resize``, ``encode`` and ``tight_box`` do the same in plain
steps, for the verification.
"""

import io
import math
import struct
import warnings
import zlib
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

Mask = NDArray[np.bool_]

# What Pillow raises on a file cut short, with a broken header, or of absurd dimensions.
_BROKEN_PNG = (OSError, SyntaxError, struct.error, zlib.error, Image.DecompressionBombError)
MAX_PIXELS = 100_000_000  # the release's masks are far smaller; a PNG that claims more is malicious


class RelBox(NamedTuple):
    """A box's corners (xyxy_rel) as fractions of the image's width and height, each in [0, 1]."""

    x0: float
    y0: float
    x1: float
    y1: float


class Region(NamedTuple):
    """A mask as COCO keeps it."""

    rle: dict[str, Any]
    """``{"size": [H, W], "counts": str}``, the counts in ASCII."""
    box: tuple[int, int, int, int]
    """The tight box (xywh_abs), whole pixels; all zeros for an empty mask."""
    area: int
    """In pixels."""


def read_png(data: bytes) -> Mask:
    """Return the mask (H, W) of a PNG's bytes, at its own size; values above zero are object.

    The release has 1-bit grey PNGs, which readers return as 0/255, 0/1 or bool.

    Raises:
        ValueError: it is not a PNG, is cut short or broken, or claims over 100 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked below
            with Image.open(io.BytesIO(data), formats=["PNG"]) as png:
                if math.prod(png.size) > MAX_PIXELS:
                    raise ValueError("it claims {} x {} pixels".format(*png.size))
                if png.mode.startswith("I"):  # 16 bits: a conversion would lose the low ones
                    return np.asarray(png) > 0
                if png.mode == "1":  # Pillow hands out 0 and 255 as "bool": compare bytes
                    return np.asarray(png).view(np.uint8) > 0
                return np.asarray(png.convert("L")) > 0
    except (*_BROKEN_PNG, ValueError) as error:
        raise ValueError(f"unreadable PNG: {error}") from error


def resize(mask: Mask, height: int, width: int) -> Mask:
    """Resize a mask (H, W) to (height, width) by the centre rule of this module."""
    rows = _sources(height, mask.shape[0])
    columns = _sources(width, mask.shape[1])
    return mask.take(rows, axis=0).take(columns, axis=1)


def encode(mask: Mask) -> dict[str, Any]:
    """Encode a mask (H, W) as COCO run lengths: column by column, ``counts`` in ASCII for JSON."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return a COCO file's segmentation, polygons or run lengths, as compressed run lengths."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return dict(segmentation)


def decode(rle: dict[str, Any]) -> Mask:
    """Return the mask (H, W) of run lengths; ``counts`` may be str or bytes."""
    mask: Mask = coco_mask.decode(rle).astype(bool)
    return mask


def tight_box(mask: Mask) -> tuple[int, int, int, int]:
    """Return the smallest box (xywh_abs, whole pixels) around a mask; all zeros for an empty one.

    The right and lower edges are exclusive: a single pixel at the origin gives (0, 0, 1, 1).
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return x, y, width, height


def encode_resized(mask: Mask, height: int, width: int) -> Region:
    """Resize a mask (H, W) to (height, width) and encode it in one step.

    The same as ``encode(resize(mask, height, width))`` with its tight box and area, but several
    times as fast: only the rectangle that the object fills is resized, and only its columns are
    searched for runs.
    """
    x, y, w, h = tight_box(mask)
    top, rows = _window(_sources(height, mask.shape[0]), y, y + h)
    left, sources = _window(_sources(width, mask.shape[1]), x, x + w)
    columns = np.zeros((len(sources), height), dtype=np.bool_)
    patch = mask[y : y + h, x : x + w].T.take(sources - x, axis=0).take(rows - y, axis=1)
    columns[:, top : top + len(rows)] = patch
    return _encode_columns(columns, left, width)


def to_xywh_abs(box: RelBox, height: int, width: int) -> list[float]:
    """Return a box as [x, y, w, h] in pixels (xywh_abs), as COCO wants it."""
    x0, y0, x1, y1 = box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height
    return [x0, y0, x1 - x0, y1 - y0]


def encode_box(box: RelBox, height: int, width: int) -> Region:
    """Return a box as a region of whole pixels: every pixel that the box touches.

    Rounded outwards, because such a region says what to ignore; at least one pixel.
    """
    x0, x1 = _outwards(box.x0, box.x1, width)
    y0, y1 = _outwards(box.y0, box.y1, height)
    columns = np.zeros((x1 - x0, height), dtype=np.bool_)
    columns[:, y0:y1] = True
    return _encode_columns(columns, x0, width)


def _sources(num_targets: int, num_sources: int) -> NDArray[np.int64]:
    """Return the source pixel that each target pixel of an axis takes."""
    return (2 * np.arange(num_targets) + 1) * num_sources // (2 * num_targets)


def _window(sources: NDArray[np.int64], start: int, stop: int) -> tuple[int, NDArray[np.int64]]:
    """Return the first target whose source is in [start, stop), and the sources of all such."""
    first, last = np.searchsorted(sources, (start, stop))
    return int(first), sources[first:last]


def _encode_columns(columns: Mask, left: int, width: int) -> Region:
    """Encode an object as COCO's compressed run lengths, which go down the columns.

    Args:
        columns: (N, H) bool, the image's columns that the object is in, so that memory order is
            run order.
        left: the first of these columns.
        width: the image's width.
    """
    height = columns.shape[1]
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + left * height
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if counts[-1] == 0:  # pycocotools writes no last run of nothing
        counts.pop()
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    x, y, w, h = map(int, coco_mask.toBbox(rle))
    text = {"size": [height, width], "counts": rle["counts"].decode("ascii")}
    return Region(text, (x, y, w, h), int(coco_mask.area(rle)))


def _outwards(start: float, stop: float, side: int) -> tuple[int, int]:
    """Round a span of fractions to whole pixels outwards, kept inside and at least one long."""
    first = min(max(math.floor(start * side), 0), side - 1)
    last = min(math.ceil(stop * side), side)
    return first, max(last, first + 1)
