"""A COCO file with all that one may have."""

from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

SIZE = (8, 10)


def annotation(number: int, image_id: int, category_id: int, **more: Any) -> dict[str, Any]:
    """An object of six pixels."""
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[2:5, number : number + 2] = 1
    counts = run_lengths.encode(mask)["counts"].decode()
    found = {"id": number, "image_id": image_id, "category_id": category_id, "area": 6}
    found |= {"bbox": [number, 2, 2.25, 3], "iscrowd": 0}
    return {**found, "segmentation": {"size": list(SIZE), "counts": counts}, **more}


def coco() -> dict[str, Any]:
    """Its content: images and categories in no order, masks of every kind, regions."""
    uncompressed = {"size": list(SIZE), "counts": [18, 3, 59]}
    annotations = [
        annotation(1, 7, 30),
        annotation(2, 3, 10, segmentation=uncompressed),
        annotation(3, 7, 10, iscrowd=1, ignore_reason="group of"),
        annotation(4, 7, 20, iscrowd=1, ignore_reason="no mask"),
        annotation(5, 3, 20, segmentation=[[0, 0, 5, 0, 5, 5.5], [1, 1, 2, 2]]),
        annotation(6, 3, 20, segmentation=[[0, 0, 5, 0]]),  # no polygon: v0.6 leaves it out
        annotation(7, 3, 20, keypoints=[1, 2, 2, 3, 4, 1]),
    ]
    del annotations[6]["segmentation"]
    images = [
        {"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in (7, 3, 5)
    ]
    images[1] |= {"positive_category_ids": [10], "negative_category_ids": [30]}
    categories = [{"id": i, "name": f"class {i}"} for i in (30, 10, 20)]
    return {"images": images, "annotations": annotations, "categories": categories}
