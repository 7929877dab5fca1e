"""What was found: detections as compact arrays, collected one by one."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.masks import MaskList, Masks, join

BBOX, SEGM = "bbox", "segm"  # the tasks


@dataclass(frozen=True)
class Detections:
    """N detections in the order of their file, images and classes as indices of the truth's.

    Attributes:
        image: (N,) int32.
        category: (N,) int32.
        scores: (N,) float64.
        boxes: (N, 4) xywh in pixels.
        masks: of the detections; none has one if only boxes were found.
    """

    image: NDArray[np.int32]
    category: NDArray[np.int32]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    masks: Masks

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Detections":
        """Return some of the detections, by True or by position."""
        masks = self.masks.take(np.arange(len(self))[chosen])
        return Detections(
            self.image[chosen],
            self.category[chosen],
            self.scores[chosen],
            self.boxes[chosen],
            masks,
        )

    def ranks(self) -> NDArray[np.int64]:
        """Return the positions by score, best first; equal scores in the order of the file."""
        return np.argsort(-self.scores, kind="stable")


class Collector:
    """Takes detections one by one into arrays."""

    def __init__(self) -> None:
        self._image, self._category = array("i"), array("i")
        self._scores, self._boxes, self._masks = array("d"), array("d"), MaskList()

    def append(
        self,
        place: tuple[int, int],
        score: float,
        box: Sequence[float],
        size: tuple[int, int],
        counts: bytes = b"",
    ) -> None:
        """Add a detection.

        Args:
            place: indices of its image and class.
            score: any number.
            box: xywh in pixels.
            size: (height, width) of the image.
            counts: run lengths of its mask; b"" without one.
        """
        self._image.append(place[0])
        self._category.append(place[1])
        self._scores.append(score)
        self._boxes.extend(box)
        self._masks.append(size, counts)

    def finish(self) -> Detections:
        """Return all detections."""
        image, category = (np.frombuffer(a, dtype=np.int32) for a in (self._image, self._category))
        scores, boxes = (np.frombuffer(a, dtype=np.float64) for a in (self._scores, self._boxes))
        return Detections(image, category, scores, boxes.reshape(-1, 4), self._masks.finish())


def concatenate(parts: Sequence[Detections]) -> Detections:
    """Return the detections of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    return Detections(
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.category for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        join([part.masks for part in parts]),
    )
