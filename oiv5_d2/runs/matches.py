"""One image's detections beside its objects: what was found, what was missed, what is false."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

Annotation = Mapping[str, Any]  # an entry of COCO's annotations, or of its result format

MIN_SCORE = 0.5  # of the detections that are shown and counted
MIN_IOU = 0.5  # of a detection with the object that it is matched to


class Match(NamedTuple):
    """How the detections of one image match its objects.

    Attributes:
        ious: of the objects that were found, 0 to 1.
        num_missed: objects that were not.
        num_false: detections that found none, and are not inside an ignored region.
    """

    ious: tuple[float, ...]
    num_missed: int
    num_false: int

    @property
    def quality(self) -> float:
        """The panoptic quality, 0 to 1: the sum of the IoUs over `_total`."""
        return float(sum(self.ious) / self._total) if self._total else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0 to 1."""
        return len(self.ious) / self._total if self._total else 1.0

    @property
    def _total(self) -> float:
        """Objects found, and half of the missed objects and of the false detections."""
        return len(self.ious) + 0.5 * self.num_missed + 0.5 * self.num_false


def match(found: Sequence[Annotation], annotations: Sequence[Annotation]) -> Match:
    """Match each detection to the object of its class with the highest IoU, best score first.

    Args:
        found: detections of one image.
        annotations: its objects and ignored regions.
    """
    objects = [one for one in annotations if not one["iscrowd"]]
    ranked = sorted(found, key=lambda one: -one["score"])
    overlap = _overlaps(ranked, objects)
    crowds = [one for one in annotations if one["iscrowd"]]
    ignored = _overlaps(ranked, crowds, iscrowd=True).max(axis=1, initial=0)
    free = set(range(len(objects)))
    matched, num_false = [], 0
    for i in range(len(ranked)):
        best = max(free, key=lambda j: overlap[i, j], default=None)
        if best is not None and overlap[i, best] > MIN_IOU:
            free.remove(best)
            matched.append(float(overlap[i, best]))
        elif ignored[i] <= MIN_IOU:
            num_false += 1
    return Match(tuple(matched), len(free), num_false)


def _overlaps(
    found: Sequence[Annotation], objects: Sequence[Annotation], iscrowd: bool = False
) -> NDArray[np.float64]:
    """Return (found, objects) IoU, 0 between classes; of a crowd, the share of what was found."""
    if not found or not objects:
        return np.zeros((len(found), len(objects)))
    key = "segmentation" if all("segmentation" in one for one in (*found, *objects)) else "bbox"
    flags = [iscrowd] * len(objects)
    iou = run_lengths.iou([one[key] for one in found], [one[key] for one in objects], flags)
    classes = [np.array([one["category_id"] for one in ones]) for ones in (found, objects)]
    return np.where(classes[0][:, None] == classes[1], iou, 0.0)
