import json
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.datasets import load_coco_json
from odd_coco import coco

from oiv5_d2.conversion.image_store import Images
from oiv5_d2.runs.packed import open_packed
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.data.records import Part, Records, read_records

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
NAMES = ("blocks_train", "blocks_validation")


@pytest.fixture
def names(prepared_dir, clean_catalog):
    register(locate("blocks", prepared_dir, NAMES), CLASSES)
    return NAMES


def stock(names):
    abouts = [MetadataCatalog.get(name) for name in names]
    return [one for a in abouts for one in load_coco_json(a.json_file, a.image_root)]


def test_records_are_detectron2_s(names):
    expected = stock(names)
    for one in expected:  # which without a name leaves the ids as they are
        for annotation in one["annotations"]:
            annotation["category_id"] -= 1
    records = read_records(names)
    assert list(records) == expected and len(records) == len(expected)
    assert get_detection_dataset_dicts(names, filter_empty=False) == expected
    assert list(records[::-2]) == expected[::-2]
    assert records.is_wide.tolist() == [one["width"] > one["height"] for one in expected]


def test_objects_are_those_of_the_records(names):
    records = read_records(names)
    chosen = records.chosen(records.objects().images[[20, 3]])
    objects = chosen.objects()
    for index, record in enumerate(chosen):
        categories = [one["category_id"] for one in record["annotations"]]
        assert objects.categories[objects.images == index].tolist() == categories
    assert objects.num_images == 2 and objects.is_target.all() and objects.has_mask.all()


def test_unusual_files_are_read_as_detectron2_reads_them(tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(coco()))
    ids = {10: 0, 20: 1, 30: 2}
    expected = load_coco_json(str(path), "images")
    for one in expected:
        for annotation in one["annotations"]:
            annotation["category_id"] = ids[annotation["category_id"]]
            mask = annotation.get("segmentation")
            if isinstance(mask, dict) and isinstance(mask["counts"], bytes):
                mask["counts"] = mask["counts"].decode()
    assert list(Records([Part(open_packed(path), Images(Path("images")))])) == expected
