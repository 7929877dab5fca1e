"""Annotations of a part, or a run's detections on it, as arrays sorted by image."""

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.masks import Masks
from oiv5_d2.exploring.store import Spans, Store

# What an annotation may be: a bit each. The keys of the COCO file, and how they are shown.
FLAGS = {
    "is_occluded": "occluded",
    "is_truncated": "truncated",
    "is_inside": "inside",
    "is_group_of": "group of",
    "is_depiction": "depiction",
    "iscrowd": "ignored",
}
NO_LABEL = -1


@dataclass(frozen=True)
class Layer:
    """N annotations or detections; those of an image follow one another.

    Attributes:
        image: (N,) int32 index of the image, ascending.
        category: (N,) int16 index of the class.
        boxes: (N, 4) float32 xywh in pixels.
        areas: (N,) float32 in pixels: of the mask, or of the box where there is none.
        masks: of the annotations or detections.
        starts: (I + 1,) int64: the rows of image i are from starts[i] up to starts[i + 1].
    """

    image: NDArray[np.int32]
    category: NDArray[np.int16]
    boxes: NDArray[np.float32]
    areas: NDArray[np.float32]
    masks: Masks
    starts: NDArray[np.int64]

    def rows(self, image: int) -> range:
        """Return the rows of an image."""
        return range(int(self.starts[image]), int(self.starts[image + 1]))


@dataclass(frozen=True)
class Annotations(Layer):
    """The truth.

    Attributes:
        label: (N,) int16 index into the part's labels, `NO_LABEL` without one.
        flags: (N,) uint8, a bit for each of `FLAGS`.
        reason: (N,) uint8 index into the part's reasons to ignore; 0 for an object.
        ids: (N,) int64, of the COCO file.
        records: what the file says of each, but for its mask.
    """

    label: NDArray[np.int16]
    flags: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    ids: NDArray[np.int64]
    records: "Records"

    def has(self, flag: str) -> NDArray[np.bool_]:
        """Return (N,) which have one of `FLAGS`, by how it is shown."""
        bit = 1 << list(FLAGS.values()).index(flag)
        return (self.flags & bit) > 0


@dataclass(frozen=True)
class Detections(Layer):
    """What a run found, the best of an image first.

    Attributes:
        scores: (N,) float32, 0 to 1.
        outcome: (N,) int8 index into `found.OUTCOMES`.
        finder: (M,) float32, of each annotation the score of what found it, NaN if nothing did.
    """

    scores: NDArray[np.float32]
    outcome: NDArray[np.int8]
    finder: NDArray[np.float32]


@dataclass(frozen=True)
class Records:
    """Records of a JSON file, parsed when one is asked for."""

    texts: bytes | mmap.mmap
    spans: Spans

    def __getitem__(self, index: int) -> dict[str, Any]:
        start, end = self.spans[index]
        found: dict[str, Any] = json.loads(self.texts[start:end])
        return found


def starts_of(image: NDArray[np.int32], num_images: int) -> NDArray[np.int64]:
    """Return `Layer.starts` of ascending indices of images."""
    return np.searchsorted(image, np.arange(num_images + 1)).astype(np.int64)


def masks_of(store: Store, sizes: NDArray[np.int32]) -> Masks:
    """Return a store's masks, on images of these sizes (N, 2)."""
    return Masks(store.bytes("masks"), store.arrays["mask_spans"], sizes)


def flags_of(record: Mapping[str, Any]) -> int:
    """Return the bits of `FLAGS` of a record; an attribute of -1 is unknown."""
    return sum(1 << bit for bit, key in enumerate(FLAGS) if record.get(key) == 1)
