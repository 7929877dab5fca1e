"""Objects of one kind at a time: occluded, large, of a child class, on crowded images.

Objects outside a slice are ignored. A false detection belongs to no object, so it counts in every
slice of objects: compare one slice between two models rather than two slices of one.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.matching import View
from oiv5_d2.evaluation.overlaps import crowd_box_ious, pair_up
from oiv5_d2.evaluation.truth import Truth

Bands = Mapping[str, tuple[float, float]]  # from the first number on, below the second one

FLAGS = ("is_occluded", "is_truncated", "is_inside")
SIDES: Bands = {"below 32 px": (0, 32), "32 to 96 px": (32, 96), "above 96 px": (96, np.inf)}
NUMBERS: Bands = {"1 object": (1, 2), "2 to 4 objects": (2, 5), "5 or more objects": (5, np.inf)}
LOW_IOU = 0.85  # of PredictedIoU
# Other annotated boxes that a box touches, and its largest IoU with one of them.
NEIGHBOURS: Bands = {
    "touches no": (0, 1),
    "touches 1 or 2": (1, 3),
    "touches 3 or more": (3, np.inf),
}
CROWDING: Bands = {"below 0.1": (0, 0.1), "0.1 to 0.3": (0.1, 0.3), "above 0.3": (0.3, np.inf)}
# From a box to the nearest border of the image, in shares of the image's shorter side.
BORDER: Bands = {
    "at the border": (-np.inf, 0.005),
    "up to 10 % from the border": (0.005, 0.1),
    "over 10 % from the border": (0.1, np.inf),
}


def slices(truth: Truth, names: Mapping[str, str]) -> dict[str, View]:
    """Return a view by the slice's name, for slices with at least one object.

    Args:
        truth: the objects, with what the release's tables say of them.
        names: display name by MID.
    """
    found = dict(_views(truth, names))
    return {name: view for name, view in found.items() if (view.objects & ~truth.is_crowd).any()}


def _views(truth: Truth, names: Mapping[str, str]) -> Iterator[tuple[str, View]]:
    yield from _recorded(truth, names)
    sides = np.sqrt(truth.areas) * _scales(truth)[truth.image]
    neighbours, crowding = _neighbours(truth)
    for title, values, bands in (
        ("{} in the model's frame", sides, SIDES),
        ("{} other boxes", neighbours, NEIGHBOURS),
        ("IoU with another box {}", crowding, CROWDING),
        ("{}", _border_distances(truth), BORDER),
    ):
        for name, (low, high) in bands.items():
            yield title.format(name), View((values >= low) & (values < high))
    number = np.bincount(truth.image[~truth.is_crowd], minlength=len(truth.images))
    for name, (low, high) in NUMBERS.items():
        images = (number >= low) & (number < high)
        yield f"images with {name}", View(images[truth.image], images=images)


def _recorded(truth: Truth, names: Mapping[str, str]) -> Iterator[tuple[str, View]]:
    """Yield the slices by what the release's tables say of an object."""
    records = truth.records
    for flag in FLAGS:
        values = np.array([one.get(flag) for one in records], dtype=object)
        yield flag.removeprefix("is_"), View(values == 1)
        yield f"not {flag.removeprefix('is_')}", View(values == 0)
    labels = np.array([one.get("label") or "" for one in records], dtype=object)
    for name, label in sorted((names.get(one, one), one) for one in set(labels.tolist()) - {""}):
        yield f"label {name}", View(labels == label)
    quality = [one.get("predicted_iou") for one in records]
    is_low = np.array([value is not None and value < LOW_IOU for value in quality], dtype=np.bool_)
    yield f"PredictedIoU below {LOW_IOU}", View(is_low)


def _scales(truth: Truth) -> NDArray[np.float64]:
    """Return by what each image is resized for the model, (I,)."""
    least, most = truth.frame
    if not least:
        return np.ones(len(truth.sizes))
    short, long = truth.sizes.min(axis=1), truth.sizes.max(axis=1)
    scales: NDArray[np.float64] = np.minimum(least / short, most / long)
    return scales


def _neighbours(truth: Truth) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many other boxes each one touches, and its largest IoU with one, (N,) each."""
    image = truth.image.astype(np.int64)
    left, right = pair_up(image, image)
    left, right = left[left != right], right[left != right]
    overlap = crowd_box_ious(truth.boxes[left], truth.boxes[right], np.zeros(len(left), np.bool_))
    largest = np.zeros(len(image))
    np.maximum.at(largest, left, overlap)
    return np.bincount(left[overlap > 0], minlength=len(image)), largest


def _border_distances(truth: Truth) -> NDArray[np.float64]:
    """Return how far each box is from the border, in shares of the image's shorter side, (N,)."""
    sizes = truth.sizes[truth.image].astype(np.float64)
    start, end = truth.boxes[:, :2], sizes[:, ::-1] - truth.boxes[:, :2] - truth.boxes[:, 2:]
    nearest = np.minimum(start, end).min(axis=1)
    distances: NDArray[np.float64] = nearest / sizes.min(axis=1)
    return distances
