"""A data set of a few blocks, whose every object is known, and two runs on a part of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.exploring.album import Run, open_album
from oiv5_d2.exploring.sources import find_parts
from oiv5_d2.jobs import unseen

CLASSES = ("Person", "Car")
LABELS = {"Woman": "/m/1", "Van": "/m/2"}
SIZE = (60, 80)  # height, width
IDS = [f"{number:x}" * 16 for number in range(5)]


def annotation(id_, image, category, side, **more):
    """A square object whose upper left corner is at (4 id_, 2 id_)."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[2 * id_ : 2 * id_ + side, 4 * id_ : 4 * id_ + side] = True
    box = [4.0 * id_, 2.0 * id_, float(side), float(side)]
    said = {"label": "", "is_occluded": 0, "is_truncated": -1, "is_group_of": 0, "iscrowd": 0}
    record = {"id": id_, "image_id": image, "category_id": category, "bbox": box}
    record |= {"area": int(mask.sum()), "segmentation": masks.encode(mask), "ignore_reason": ""}
    return record | said | more


TRAIN = [
    annotation(1, 1, 1, 10, label=LABELS["Woman"], is_occluded=1),
    annotation(2, 1, 2, 20, predicted_iou=0.75),
    annotation(5, 2, 1, 12, is_truncated=1),
    annotation(3, 2, 2, 3),
    annotation(4, 3, 1, 30, iscrowd=1, ignore_reason="group of", is_group_of=1),
]
TEST = [annotation(1, 1, 1, 10), annotation(2, 1, 2, 20, label=LABELS["Van"])]


def write_part(data_dir, part, ids, annotations):
    (data_dir / "images" / part).mkdir(parents=True)
    images = []
    for number, id_ in enumerate(ids, start=1):
        pixels = np.full((*SIZE, 3), 40 * number, dtype=np.uint8)
        name = f"{part}/{id_}.jpg"
        Image.fromarray(pixels).save(data_dir / "images" / name)
        images.append({"id": number, "file_name": name, "open_images_id": id_})
        images[-1] |= {"height": SIZE[0], "width": SIZE[1], "author": "Ann Other"}
    head = {"info": {}, "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1)]}
    lines = [map(coco_file.dumps, records) for records in (images, annotations)]
    coco_file.write(data_dir / "coco" / f"{part}.json", head, *lines)
    labels = {"classes": {"any": {"labels": {name: {"mid": mid} for name, mid in LABELS.items()}}}}
    (data_dir / "subset").mkdir(exist_ok=True)
    (data_dir / "subset" / f"{part}.json").write_text(json.dumps({"counts": labels}))


def write_audit(data_dir):
    worst = [{"open_images_id": IDS[0], "annotation_id": 2, "value": 0.4}]
    worst += [{"open_images_id": IDS[1], "annotation_id": 5, "value": 0.9}]
    figures = {
        "images": {"faults": {"missing": [{"open_images_id": IDS[1], "detail": ""}]}},
        "mask_box_iou": {"poor_below": 0.5, "worst": worst},
        "tiny": {"below_pixels": 16, "below_share": 0.0},
    }
    leakage = {"same_bytes": [[["train", IDS[3]], ["test", IDS[4]]]]}
    (data_dir / "audit.json").write_text(
        json.dumps({"parts": {"train": figures}} | {"leakage": leakage})
    )


def write_run(root, name, data_dir, found):
    """A run that was evaluated on the part test."""
    run_dir = root / name
    folder = run_dir / "evaluation" / "blocks_test"
    folder.mkdir(parents=True)
    data = {"blocks_test": {"json": str(data_dir / "coco" / "test.json")}}
    (run_dir / "run.json").write_text(json.dumps({"name": name, "data": data, "seconds": 1.0}))
    keys = ("image_id", "category_id", "bbox", "segmentation")
    rows = [{key: one[key] for key in keys} | {"score": score} for one, score in found]
    (folder / "coco_instances_results.json").write_text(json.dumps(rows))
    return run_dir


@pytest.fixture(scope="session")
def blocks(tmp_path_factory):
    """`data/blocks`: four images in train, one in test; the runs `one` and `other`."""
    root = tmp_path_factory.mktemp("project")
    data_dir = root / "data" / "blocks"
    write_part(data_dir, "train", IDS[:4], TRAIN)
    write_part(data_dir, "test", IDS[4:], TEST)
    write_audit(data_dir)
    nowhere = annotation(7, 1, 2, 9)
    one = write_run(root, "one", data_dir, [(TEST[0], 0.9), (nowhere, 0.8), (nowhere, 0.01)])
    other = write_run(root, "other", data_dir, [(TEST[0], 0.3), (TEST[1], 0.7)])
    return SimpleNamespace(
        root=root, data_dir=data_dir, cache_dir=root / "cache", runs=(one, other)
    )


@pytest.fixture(scope="session")
def album(blocks):
    """The data alone."""
    datasets = find_parts("blocks", blocks.data_dir, [])
    return open_album("blocks", datasets, [], blocks.cache_dir, unseen)


@pytest.fixture(scope="session")
def run_album(blocks):
    """The part test, with what both runs found."""
    datasets = find_parts("blocks", blocks.data_dir, ["test"])
    runs = [Run(folder.name, folder) for folder in blocks.runs]
    return open_album("blocks", datasets, runs, blocks.cache_dir, unseen)
