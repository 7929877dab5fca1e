"""Where each pixel of an augmented mask comes from, one table for the rows and one for the columns.

All augmentations here map rows to rows and columns to columns. So a mask is augmented by looking up
its pixels, in its object's box alone, however many steps there are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import (
    BlendTransform,
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    PadTransform,
    Transform,
    VFlipTransform,
)
from numpy.typing import NDArray
from PIL import Image

Size = tuple[int, int]  # height, width
Axis = NDArray[np.int64]  # for each pixel along it the one before, or NOWHERE

NOWHERE = -1  # of a pixel that is padding


class Lookup(NamedTuple):
    """The row and the column of the annotated image that each row and column shows."""

    rows: Axis
    columns: Axis


class Shown(NamedTuple):
    """What an augmented image shows of ranges along one axis of the annotated image.

    Attributes:
        begins: (N,), the first position that shows some of each range.
        ends: (N,), the one after the last; where nothing of it is shown, as `begins`.
    """

    begins: list[int]
    ends: list[int]


def find_shown(axis: Axis, firsts: Axis, stops: Axis) -> Shown:
    """Return where ranges from `firsts` to before `stops`, (N,) each, are shown."""
    inside = np.flatnonzero(axis != NOWHERE)
    if not len(inside):
        return Shown([0] * len(firsts), [0] * len(firsts))
    offset, sources = int(inside[0]), axis[inside]
    if sources[0] <= sources[-1]:
        begins, ends = (np.searchsorted(sources, one) for one in (firsts, stops))
    else:  # flipped
        ends, begins = (len(sources) - np.searchsorted(sources[::-1], o) for o in (firsts, stops))
    return Shown((begins + offset).tolist(), (ends + offset).tolist())


def find_lookup(transforms: T.TransformList, size: Size) -> Lookup | None:
    """Return where the pixels of masks come from; None if a transform is none of `LOOKUPS`.

    Args:
        transforms: of one image, in their order.
        size: (height, width) of the image before them.
    """
    lookup = Lookup(*(np.arange(length) for length in size))
    for transform in transforms.transforms:
        change = LOOKUPS.get(type(transform))
        if change is None or getattr(transform, "seg_pad_value", 0) != 0:
            return None
        lookup = change(transform, lookup)
    return lookup


def _same(_: Transform, lookup: Lookup) -> Lookup:
    return lookup


def _flip_columns(_: HFlipTransform, lookup: Lookup) -> Lookup:
    return Lookup(lookup.rows, lookup.columns[::-1])


def _flip_rows(_: VFlipTransform, lookup: Lookup) -> Lookup:
    return Lookup(lookup.rows[::-1], lookup.columns)


def _crop(crop: CropTransform, lookup: Lookup) -> Lookup:
    rows, columns = slice(crop.y0, crop.y0 + crop.h), slice(crop.x0, crop.x0 + crop.w)
    return Lookup(lookup.rows[rows], lookup.columns[columns])


def _pad(pad: PadTransform, lookup: Lookup) -> Lookup:
    sides = ((pad.y0, pad.y1), (pad.x0, pad.x1))
    axes = (np.pad(a, s, constant_values=NOWHERE) for a, s in zip(lookup, sides, strict=True))
    return Lookup(*axes)


def _resize(resize: T.ResizeTransform, lookup: Lookup) -> Lookup:
    rows, columns = _nearest(resize.h, resize.new_h), _nearest(resize.w, resize.new_w)
    return Lookup(lookup.rows[rows], lookup.columns[columns])


def _nearest(before: int, after: int) -> Axis:
    """Return which pixel Pillow takes for each, as Detectron2 lets it resize masks."""
    pixels = Image.fromarray(np.arange(before, dtype=np.int32)[None])
    taken: Axis = np.asarray(pixels.resize((after, 1), Image.Resampling.NEAREST))[0].astype(
        np.int64
    )
    return taken


LOOKUPS: dict[type[Transform], Callable[[Any, Lookup], Lookup]] = {
    NoOpTransform: _same,
    BlendTransform: _same,
    T.ColorTransform: _same,
    HFlipTransform: _flip_columns,
    VFlipTransform: _flip_rows,
    CropTransform: _crop,
    PadTransform: _pad,
    T.ResizeTransform: _resize,
}
