"""The objects that a training learns from, as plain arrays."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.prepared import Prepared, check_classes, read_coco

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class Objects(NamedTuple):
    """Images that show at least one object, ignored regions not counted, and these objects.

    Attributes:
        classes: display names, in their order.
        sizes: (M, 2), each image's height and width in pixels.
        boxes: (N, 4), xywh_abs in pixels of the image.
        image_of: (N,), the index of each box's image.
        class_of: (N,), the index of each box's class.
    """

    classes: tuple[str, ...]
    sizes: Floats
    boxes: Floats
    image_of: Indices
    class_of: Indices

    def per_image(self) -> Indices:
        """Return (M, C), the number of objects of each class in each image."""
        counts = np.zeros((len(self.sizes), len(self.classes)), np.int64)
        np.add.at(counts, (self.image_of, self.class_of), 1)
        return counts


def read_objects(datasets: Iterable[Prepared], classes: Sequence[str]) -> Objects:
    """Read data sets that are trained on together.

    Args:
        datasets: prepared for `classes`.
        classes: display names, in the order of their category ids.

    Raises:
        Problem: DAMAGED, a file is not JSON; MISMATCH, it has other classes; EMPTY, no image
            shows an object.
    """
    sizes: list[tuple[float, float]] = []
    rows: list[tuple[Any, ...]] = []  # x, y, w, h, image, class
    for dataset in datasets:
        check_classes(dataset.json_path, classes)
        coco = read_coco(dataset.json_path)
        class_of = {c["id"]: classes.index(c["name"]) for c in coco["categories"]}
        shown = [each for each in coco["annotations"] if not each.get("iscrowd")]
        with_objects = {each["image_id"] for each in shown}
        image_of = {}
        for image in coco["images"]:
            if image["id"] in with_objects:
                image_of[image["id"]] = len(sizes)
                sizes.append((image["height"], image["width"]))
        for each in shown:
            found = image_of[each["image_id"]], class_of[each["category_id"]]
            rows.append((*each["bbox"], *found))
    if not rows:
        raise Problem(Kind.EMPTY, "d2.DATASETS.TRAIN", "no object", remedy=Remedy.PREPARE_AGAIN)
    table = np.array(rows, np.float64)
    image_at, class_at = table[:, 4].astype(np.int64), table[:, 5].astype(np.int64)
    return Objects(tuple(classes), np.array(sizes, float), table[:, :4], image_at, class_at)


def in_model(objects: Objects, shortest: float, longest: float) -> Floats:
    """Return boxes (N, 4), xywh_abs, as the model sees them.

    Args:
        objects: in pixels of their images.
        shortest: px, to which the shorter side of an image is scaled, as Detectron2 does...
        longest: px, ...unless the longer side would then be longer.
    """
    scales = np.minimum(shortest / objects.sizes.min(1), longest / objects.sizes.max(1))
    boxes: Floats = objects.boxes * scales[objects.image_of, None]
    return boxes
