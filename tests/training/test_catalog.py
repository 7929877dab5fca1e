import shutil
from pathlib import Path

import pytest
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.prepared import Prepared, fingerprint, locate
from oiv5_d2.training.catalog import naming_damage, register

from detectron2.data import DatasetCatalog, MetadataCatalog  # isort: skip

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")


def test_prepared_data_is_found_once_under_its_parts(prepared_dir):
    names = ["blocks_train", "blocks_validation", "blocks_train"]
    found = locate("blocks", prepared_dir, names)
    assert [dataset.name for dataset in found] == ["blocks_train", "blocks_validation"]
    assert found[0].json_path == prepared_dir / "coco" / "train.json"


def test_data_that_is_not_prepared_asks_to_prepare_it(tmp_path):
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE, about="mini_train"):
        locate("mini", tmp_path, ["mini_train"])


def test_a_data_set_of_another_family_is_refused(tmp_path):
    with refused(Kind.SETTING, about="coco_2017_train"):
        locate("mini", tmp_path, ["coco_2017_train"])


def test_registering_again_replaces(prepared_dir, clean_catalog, tmp_path):
    dataset = Prepared("blocks_train", prepared_dir / "coco/train.json", prepared_dir / "images")
    register([dataset], CLASSES)
    register([dataset._replace(images_dir=tmp_path)], CLASSES)
    assert MetadataCatalog.get("blocks_train").image_root == str(tmp_path)
    first = DatasetCatalog.get("blocks_train")[0]
    assert Path(first["file_name"]).parent.parent == tmp_path
    assert [a["category_id"] for a in first["annotations"]] == [0, 1, 2, 3]


def test_other_classes_than_the_file_s_are_refused(prepared_dir, clean_catalog):
    dataset = Prepared("blocks_train", prepared_dir / "coco/train.json", prepared_dir / "images")
    with refused(Kind.MISMATCH, key="data.classes", about="train.json"):
        register([dataset], CLASSES[::-1])


def test_half_a_file_is_refused_by_name(tmp_path, clean_catalog):
    path = tmp_path / "train.json"
    path.write_text('{"images": [')
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about="train.json"):
        register([Prepared("blocks_train", path, tmp_path)], CLASSES)


def test_an_image_that_cannot_be_read_is_named(prepared_dir, clean_catalog, tmp_path):
    shutil.copytree(prepared_dir, tmp_path / "blocks")
    images_dir = tmp_path / "blocks" / "images"
    register([Prepared("blocks_train", tmp_path / "blocks/coco/train.json", images_dir)], CLASSES)
    with pytest.raises(OSError, match="of the disk"), naming_damage("blocks_train"):
        raise OSError("of the disk")
    path = next((images_dir / "train").iterdir())
    path.write_bytes(path.read_bytes()[:99])
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about=path):
        with naming_damage("blocks_train"):
            raise OSError("of a worker")


def test_a_fingerprint_tells_data_apart(prepared_dir):
    train, validation = (
        fingerprint(Prepared(part, prepared_dir / "coco" / f"{part}.json", prepared_dir))
        for part in ("train", "validation")
    )
    assert train["num_images"] == 4
    assert train["num_instances"] == 16
    assert train["num_ignored"] == 0
    assert train["sha256"] != validation["sha256"]
