import json
from pathlib import Path

import numpy as np

from oiv5_d2.conversion.image_store import Images
from oiv5_d2.runs.packed import open_packed
from oiv5_d2.training.data.learned import count_learned
from oiv5_d2.training.data.records import Part, Records

CLASSES = ("Person", "Car")
VERIFIED = {1: ([1], []), 2: ([2], [])}  # present, absent


def records_of(path, *annotations):
    """Records of two images, and annotations: image, category, why it is no target of v0.6."""
    images = [
        {"id": i, "file_name": f"{i}.jpg", "height": 4, "width": 4}
        | {"positive_category_ids": present, "negative_category_ids": absent}
        for i, (present, absent) in VERIFIED.items()
    ]
    objects = [
        {"id": number, "image_id": image_id, "category_id": category_id, "bbox": [0, 0, 1, 1]}
        | {"iscrowd": int(bool(reason)), "ignore_reason": reason}
        for number, (image_id, category_id, reason) in enumerate(annotations)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    coco = {"images": images, "annotations": objects, "categories": categories}
    path.write_text(json.dumps(coco))
    return Records([Part(open_packed(path), Images(Path()))], boxes=True)


def test_targets_regions_and_unverified_images_are_counted_by_class(tmp_path):
    persons = [(1, 1, ""), (1, 1, ""), (1, 1, "no mask"), (1, 1, "group of")]
    records = records_of(tmp_path / "a.json", *persons, (2, 2, "no mask"))
    table = count_learned(records, lambda _: np.array([0, 1, 1, 1]), CLASSES)
    assert table.rows == [
        ("Person", "2", "1", "1", "1", "75.0%", "50.0%"),
        ("Car", "0", "1", "0", "1", "25.0%", "50.0%"),
    ]


def test_without_targets_all_shares_are_zero(tmp_path):
    records = records_of(tmp_path / "a.json")
    (person, _) = count_learned(records, lambda _: np.array([0]), CLASSES).rows
    assert person == ("Person", "0", "0", "0", "1", "0.0%", "0.0%")
