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
import pyarrow as pa
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
                if png.mode == "1":  # Pillow's own memory, 0 and 255; its way to NumPy copies twice
                    pixels: NDArray[np.uint8] = pa.array(png).to_numpy()
                    return pixels.reshape(png.height, png.width) > 0
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
    times as fast: what is resized are the edges of its runs, and they are looked for in eight
    pixels at once. An edge is a pixel that differs from the one above it.
    """
    bits = np.packbits(mask, axis=1)
    edges = np.zeros((len(bits) + 1, bits.shape[1]), np.uint8)
    edges[:-1] = bits
    edges[1:] ^= bits
    places = np.flatnonzero(edges.ravel() != 0)
    found = np.flatnonzero(np.unpackbits(edges.ravel()[places]))
    rows, groups = np.divmod(places[found >> 3], bits.shape[1])
    columns = 8 * groups + (found & 7)
    tops = _first_targets(rows, height, mask.shape[0])
    lefts, rights = (_first_targets(x, width, mask.shape[1]) for x in (columns, columns + 1))
    times = rights - lefts
    nth = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    runs = (np.repeat(lefts, times) + nth) * height + np.repeat(tops, times)
    return _encode_edges(_unpaired(runs), height, width)


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


def _first_targets(
    sources: NDArray[np.int64], num_targets: int, num_sources: int
) -> NDArray[np.int64]:
    """Return the first target pixel of an axis that takes such a source pixel or a later one."""
    first = -((num_sources - 2 * num_targets * sources) // (2 * num_sources))
    return np.maximum(first, 0)


def _unpaired(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return places in order, without those of which there are two: nothing changes there."""
    places = np.sort(places)
    if np.all(places[1:] > places[:-1]):
        return places
    distinct, counts = np.unique(places, return_counts=True)
    single: NDArray[np.int64] = distinct[counts % 2 == 1]
    return single


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
    return _encode_edges(edges, height, width)


def _encode_edges(edges: NDArray[np.int64], height: int, width: int) -> Region:
    """Encode an object of which the places are known, down the columns, where runs begin and end.

    Args:
        edges: (2 N,), in their order; the first run of the object begins at the first one.
        height: of the image.
        width: of the image.
    """
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
