"""Many masks as COCO run lengths, one behind the other.

The run lengths are most of what an evaluation holds: 4 GB for 100 detections on each of 125,000
images. So from `IN_MEMORY` on they are in a file without a name, where ``TMPDIR`` says, and only
those that are read are in memory.
"""

import mmap
import tempfile
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np
from hotcoco import mask as run_lengths
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Rle = dict[str, Any]  # {"size": [H, W], "counts": bytes or str}

IN_MEMORY = 1 << 26  # bytes of run lengths; more of them go into a file
CHUNK = 1000  # masks that are decoded together: few, so that they stay in the processor's cache


@dataclass(frozen=True)
class Masks:
    """Run lengths of N masks; a mask that is absent has none.

    Attributes:
        counts: COCO's compressed run lengths of all masks, one behind the other.
        spans: (N, 2) int64, where those of each mask begin and end.
        sizes: (N, 2) int32, height and width of each mask's image.
    """

    counts: bytes | mmap.mmap
    spans: NDArray[np.int64]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Rle:
        start, end = self.spans[index]
        return {"size": self.sizes[index].tolist(), "counts": self.counts[start:end]}

    def outlines(self, positions: NDArray[np.int64]) -> list[Rle]:
        """Return some of the masks, by position; much faster than one by one."""
        data, (starts, ends) = self.counts, self.spans[positions].T.tolist()
        # Height and width as one number, so that masks of one size share a list.
        pairs = np.ascontiguousarray(self.sizes[positions]).view(np.int64).ravel()
        sizes, which = np.unique(pairs, return_inverse=True)
        shared = sizes.view(np.int32).reshape(-1, 2).tolist()
        found = [
            {"size": shared[size], "counts": data[start:end]}
            for size, start, end in zip(which.tolist(), starts, ends, strict=True)
        ]
        if isinstance(data, mmap.mmap):
            data.madvise(mmap.MADV_DONTNEED)  # what was read need not stay in this process
        return found

    @property
    def present(self) -> NDArray[np.bool_]:
        """(N,) True where there is a mask."""
        is_there: NDArray[np.bool_] = self.spans[:, 0] < self.spans[:, 1]
        return is_there

    def take(self, positions: NDArray[np.int64]) -> "Masks":
        """Return some of the masks, by position; their run lengths are shared, not copied."""
        return Masks(self.counts, self.spans[positions], self.sizes[positions])

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """(N, 4) xywh, the tight boxes; all zeros for an empty or absent mask."""
        return self._measure(run_lengths.to_bbox, np.zeros((len(self), 4)))

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """(N,) in pixels."""
        return self._measure(run_lengths.area, np.zeros(len(self), dtype=np.int64))

    def _measure(self, measure: Callable[[list[Rle]], Any], values: NDArray[Any]) -> NDArray[Any]:
        """Fill in and return a value of each mask that is present."""
        present = np.flatnonzero(self.present)
        for start in range(0, len(present), CHUNK):
            some = present[start : start + CHUNK]
            values[some] = measure(self.outlines(some))
        return values

    def __getstate__(self) -> tuple[bytes, NDArray[np.int64], NDArray[np.int32]]:
        """Return what is pickled: the run lengths of these masks alone."""
        counts = b"".join(self.counts[start:end] for start, end in self.spans.tolist())
        return counts, _spans(np.diff(self.spans).ravel()), self.sizes

    def __setstate__(self, state: tuple[bytes, NDArray[np.int64], NDArray[np.int32]]) -> None:
        counts = _Bytes()
        counts.append(state[0])
        for name, value in zip(
            ("counts", "spans", "sizes"), (counts.finish(), *state[1:]), strict=True
        ):
            object.__setattr__(self, name, value)


class _Bytes:
    """Bytes that are appended; from `IN_MEMORY` on they go into a file."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None

    def append(self, more: bytes | mmap.mmap) -> None:
        self._buffer += more
        if len(self._buffer) > IN_MEMORY:
            self._write()

    def finish(self) -> bytes | mmap.mmap:
        """Return all of them."""
        if self._file is None:
            return bytes(self._buffer)
        self._write()
        with self._file as file:
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # which `finish` closes
        self._file.write(self._buffer)
        self._buffer = bytearray()


class MaskList:
    """Masks that are added one by one."""

    def __init__(self) -> None:
        self._counts = _Bytes()
        self._lengths, self._sizes = array("i"), array("i")

    def append(self, size: tuple[int, int], counts: bytes) -> None:
        """Add the run lengths of a mask; b"" where there is none.

        Args:
            size: (height, width) of the image.
            counts: as COCO compresses them.
        """
        self._counts.append(counts)
        self._lengths.append(len(counts))
        self._sizes.extend(size)

    def finish(self) -> Masks:
        """Return all masks."""
        spans = _spans(np.frombuffer(self._lengths, dtype=np.int32))
        sizes = np.frombuffer(self._sizes, dtype=np.int32).reshape(-1, 2)
        return Masks(self._counts.finish(), spans, sizes)


def encode(masks: NDArray[Any]) -> list[Rle]:
    """Return the compressed run lengths of masks (N, H, W) of one image."""
    return list(coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)))


def join(parts: Sequence[Masks]) -> Masks:
    """Return the masks of all parts, in their order."""
    counts = _Bytes()
    for part in parts:
        counts.append(part.counts)
    starts = np.cumsum([0, *(len(part.counts) for part in parts)])
    return Masks(
        counts.finish(),
        np.concatenate([part.spans + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.sizes for part in parts]),
    )


def _spans(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return (N, 2) where each of N pieces begins and ends."""
    edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def to_rle(segmentation: Any, size: tuple[int, int]) -> Rle:
    """Return COCO's compressed run lengths of a segmentation in any of COCO's forms.

    Args:
        segmentation: polygons, a list of counts with its size, or compressed run lengths.
        size: (height, width) of the image.

    Raises:
        ValueError: it is none of these, or of another size than the image.
    """
    if isinstance(segmentation, list):
        return dict(run_lengths.merge(run_lengths.fr_py_objects(segmentation, *size)))
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("a segmentation is neither polygons nor run lengths")
    if tuple(segmentation["size"]) != tuple(size):
        raise ValueError(f"a mask of {segmentation['size']}, but the image has {list(size)}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return dict(run_lengths.fr_py_objects(segmentation, *size))
    return {"size": list(size), "counts": counts.encode() if isinstance(counts, str) else counts}
