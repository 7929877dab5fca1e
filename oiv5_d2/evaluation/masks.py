"""Many masks as COCO run lengths, in one array of bytes."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hotcoco import mask as run_lengths
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Rle = dict[str, Any]  # {"size": [H, W], "counts": bytes or str}

CHUNK = 50_000  # masks that are looked at together


@dataclass(frozen=True)
class Masks:
    """Run lengths of N masks; a mask that is absent has none.

    Attributes:
        counts: uint8, COCO's compressed run lengths of all masks, one behind the other.
        spans: (N, 2) int64, where those of each mask begin and end.
        sizes: (N, 2) int32, height and width of each mask's image.
    """

    counts: NDArray[np.uint8]
    spans: NDArray[np.int64]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Rle:
        start, end = self.spans[index]
        return {"size": self.sizes[index].tolist(), "counts": self.counts[start:end].tobytes()}

    def outlines(self, positions: NDArray[np.int64]) -> list[Rle]:
        """Return some of the masks, by position; much faster than one by one."""
        data, (starts, ends) = self.counts.data, self.spans[positions].T.tolist()
        # Height and width as one number, so that masks of one size share a list.
        pairs = np.ascontiguousarray(self.sizes[positions]).view(np.int64).ravel()
        sizes, which = np.unique(pairs, return_inverse=True)
        shared = sizes.view(np.int32).reshape(-1, 2).tolist()
        return [
            {"size": shared[size], "counts": bytes(data[start:end])}
            for size, start, end in zip(which.tolist(), starts, ends, strict=True)
        ]

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
        boxes = np.zeros((len(self), 4))
        present = np.flatnonzero(self.present)
        for some in np.array_split(present, len(present) // CHUNK + 1):
            if len(some):
                boxes[some] = run_lengths.to_bbox(self.outlines(some))
        return boxes

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """(N,) in pixels."""
        areas = np.zeros(len(self), dtype=np.int64)
        present = np.flatnonzero(self.present)
        for some in np.array_split(present, len(present) // CHUNK + 1):
            if len(some):
                areas[some] = run_lengths.area(self.outlines(some))
        return areas


class MaskList:
    """Masks that are added one by one."""

    def __init__(self) -> None:
        self._counts, self._ends, self._sizes = bytearray(), array("q"), array("i")

    def append(self, size: tuple[int, int], counts: bytes) -> None:
        """Add the run lengths of a mask; b"" where there is none.

        Args:
            size: (height, width) of the image.
            counts: as COCO compresses them.
        """
        self._counts += counts
        self._ends.append(len(self._counts))
        self._sizes.extend(size)

    def finish(self) -> Masks:
        """Return all masks."""
        counts = np.frombuffer(self._counts, dtype=np.uint8)
        edges = np.concatenate([[0], np.frombuffer(self._ends, dtype=np.int64)])
        sizes = np.frombuffer(self._sizes, dtype=np.int32).reshape(-1, 2)
        return Masks(counts, np.stack([edges[:-1], edges[1:]], axis=1), sizes)


def encode(masks: NDArray[Any]) -> list[Rle]:
    """Return the compressed run lengths of masks (N, H, W) of one image."""
    return list(coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)))


def join(parts: Sequence[Masks]) -> Masks:
    """Return the masks of all parts, in their order."""
    starts = np.cumsum([0, *(len(part.counts) for part in parts)])
    return Masks(
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.spans + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.sizes for part in parts]),
    )


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
