"""COCO's run lengths, checked before pycocotools reads them: it believes whatever they say.

In text, each length is written in groups of five bits, lowest first, as a character from code 48
on; a sixth bit says that more follow, and the fifth of the last one is the sign. From the fourth
length on, the difference to the one before the last is written.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MORE, _SIGN, _BITS = 0x20, 0x10, 5
_MOST_GROUPS = 7  # of one length: 35 bits, more than any image's pixels


def is_of_size(counts: str | Sequence[int], num_pixels: int) -> bool:
    """Return True if run lengths, in text or as numbers, cover so many pixels and none is below 0.

    Args:
        counts: as in ``segmentation["counts"]``.
        num_pixels: height times width.
    """
    if isinstance(counts, str):
        found = read([counts])
    elif all(type(count) is int and 0 <= count <= num_pixels for count in counts):
        found = [np.array(counts, dtype=np.int64)]
    else:
        return False
    return found is not None and bool((found[0] >= 0).all()) and found[0].sum() == num_pixels


def read(texts: Sequence[str]) -> list[NDArray[np.int64]] | None:
    """Return the lengths of each text, all read at once; None if one is no such text."""
    joined = "".join(texts)
    if not all(texts) or not joined.isascii():
        return None
    codes = np.frombuffer(joined.encode("ascii"), np.uint8).astype(np.int64) - 48
    is_last = (codes & _MORE) == 0
    ends = np.cumsum([len(text) for text in texts])
    if codes.min() < 0 or codes.max() > 63 or not is_last[ends - 1].all():
        return None
    stops = np.flatnonzero(is_last)
    starts = np.concatenate([[0], stops[:-1] + 1])
    if (stops - starts).max() >= _MOST_GROUPS:
        return None
    places = np.arange(len(codes)) - np.repeat(starts, stops - starts + 1)
    values = np.add.reduceat((codes & 0x1F) << (_BITS * places), starts)
    is_negative = (codes[stops] & _SIGN) != 0
    values -= np.where(is_negative, np.int64(1) << (_BITS * (stops - starts + 1)), 0)
    lengths = np.split(values, np.searchsorted(stops, ends[:-1]))
    for some in lengths:
        some[1::2] = np.cumsum(some[1::2])  # the second stands for itself, the fourth for more
        some[2::2] = np.cumsum(some[2::2])
    return lengths


def draw(lengths: NDArray[np.int64], height: int, columns: tuple[int, int]) -> NDArray[np.bool_]:
    """Return some columns of a mask: of a small object far sooner than the whole mask.

    Args:
        lengths: of the mask, as `read` returns them.
        height: of the mask in pixels.
        columns: the first one, and the one after the last.

    Returns:
        (height, number of columns).
    """
    first, end = (height * column for column in columns)
    stops = np.clip(np.cumsum(lengths), first, end)
    runs = np.diff(stops, prepend=first)
    is_object = np.arange(len(lengths)) % 2 == 1
    return np.repeat(is_object, runs).reshape(-1, height).T
