"""Detectors whose true quality is known: what they find is drawn from one distribution."""

from typing import Any

import numpy as np

from oiv5_d2.evaluation.detections import Collector, Detections
from oiv5_d2.evaluation.truth import Truth, build_truth

SIDE = 200  # of an image, in pixels
BOX = 40.0


def draw_truth(rng: np.random.Generator, num_images: int) -> Truth:
    """Return images of one to five boxes, side by side."""
    images = [{"id": i + 1, "height": SIDE, "width": SIDE} for i in range(num_images)]
    objects: list[dict[str, Any]] = []
    for image in images:
        for place in rng.permutation(16)[: rng.integers(1, 6)]:
            box = [place % 4 * 50.0, place // 4 * 50.0, BOX, BOX]
            one = {"id": len(objects) + 1, "image_id": image["id"], "category_id": 1, "bbox": box}
            objects.append(one | {"area": BOX * BOX, "iscrowd": 0})
    categories = [{"id": 1, "name": "Car"}]
    content = {"images": images, "annotations": objects, "categories": categories}
    return build_truth(content, "drawn", "")


def detect(rng: np.random.Generator, truth: Truth, recall: float = 0.7) -> Detections:
    """Return what a detector finds: boxes that are off a little, and some where nothing is."""
    collector = Collector()
    for image, box in zip(truth.image.tolist(), truth.boxes, strict=True):
        if rng.random() < recall:
            moved = (box + rng.normal(0, 3, 4)).tolist()
            collector.append((image, 0), float(rng.normal(1, 1)), moved, (SIDE, SIDE))
    for image in np.repeat(np.arange(len(truth.images)), rng.poisson(1, len(truth.images))):
        box = [*rng.uniform(0, SIDE - BOX, 2).tolist(), BOX, BOX]
        collector.append((int(image), 0), float(rng.normal(-0.5, 1)), box, (SIDE, SIDE))
    return collector.finish()
