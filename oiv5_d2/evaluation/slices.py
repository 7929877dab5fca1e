"""Objects of one kind at a time: occluded, large, of a child class, on crowded images.

Objects outside a slice are ignored. A false detection belongs to no object, so it counts in every
slice of objects: compare one slice between two models rather than two slices of one.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.matching import View
from oiv5_d2.evaluation.truth import Truth

FLAGS = ("is_occluded", "is_truncated", "is_inside")
FRAME = 800, 1333  # shorter and longer side at most, as Detectron2 tests by default
SIDES = {"below 32 px": (0, 32), "32 to 96 px": (32, 96), "above 96 px": (96, np.inf)}
NUMBERS = {"1 object": (1, 1), "2 to 4 objects": (2, 4), "5 or more objects": (5, np.inf)}
LOW_IOU = 0.85  # of PredictedIoU


def slices(truth: Truth, names: Mapping[str, str]) -> dict[str, View]:
    """Return a view by the slice's name, for slices with at least one object.

    Args:
        truth: the objects, with what the release's tables say of them.
        names: display name by MID.
    """
    found = dict(_views(truth, names))
    return {name: view for name, view in found.items() if (view.objects & ~truth.is_crowd).any()}


def _views(truth: Truth, names: Mapping[str, str]) -> Iterator[tuple[str, View]]:
    records = truth.records
    for flag in FLAGS:
        values = np.array([one.get(flag) for one in records], dtype=object)
        yield flag.removeprefix("is_"), View(values == 1)
        yield f"not {flag.removeprefix('is_')}", View(values == 0)
    sides = np.sqrt(truth.areas) * _scales(truth)[truth.image]
    for name, (low, high) in SIDES.items():
        yield f"{name} in the model's frame", View((sides >= low) & (sides < high))
    labels = np.array([one.get("label") or "" for one in records], dtype=object)
    for label in sorted(set(labels.tolist()) - {""}):
        yield f"label {names.get(label, label)}", View(labels == label)
    quality = [one.get("predicted_iou") for one in records]
    is_low = np.array([value is not None and value < LOW_IOU for value in quality], dtype=np.bool_)
    yield f"PredictedIoU below {LOW_IOU}", View(is_low)
    number = np.bincount(truth.image[~truth.is_crowd], minlength=len(truth.images))
    for name, (low, high) in NUMBERS.items():
        images = (number >= low) & (number <= high)
        yield f"images with {name}", View(images[truth.image], images=images)


def _scales(truth: Truth) -> NDArray[np.float64]:
    """Return by what each image is resized for the model."""
    short, long = truth.sizes.min(axis=1), truth.sizes.max(axis=1)
    scales: NDArray[np.float64] = np.minimum(FRAME[0] / short, FRAME[1] / long)
    return scales
