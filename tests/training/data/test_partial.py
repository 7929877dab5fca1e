import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_util

from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.copy_paste import CopyPaste
from oiv5_d2.training.data.loader import build_train_loader, find_records
from oiv5_d2.training.data.mapper import build_mapper, seeded
from oiv5_d2.training.data.records import read_records
from oiv5_d2.training.length import count_images

CLASSES = ("Person", "Traffic light", "Car", "Traffic sign")
SIZE = (64, 96)
OBJECTS = (  # image, category, (x, y, w, h), why it is no target of v0.6
    (1, 1, (4, 8, 20, 40), ""),
    (1, 3, (40, 20, 48, 30), "no mask"),
    (1, 1, (30, 4, 10, 10), "group of"),
    (2, 3, (10, 10, 40, 30), "no mask"),
    (3, 3, (10, 10, 40, 30), "depiction"),
)
LABELS = {1: ([1, 3], [2]), 2: ([3], []), 3: ([], [])}  # verified present, verified absent


@pytest.fixture
def dataset(tmp_path: Path, clean_catalog) -> str:
    images, annotations = [], []
    for image_id, (positive, negative) in LABELS.items():
        name = f"{image_id}.png"
        Image.fromarray(np.full((*SIZE, 3), 60 * image_id, np.uint8)).save(tmp_path / name)
        about = {"id": image_id, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        about |= {"positive_category_ids": positive, "negative_category_ids": negative}
        images.append(about)
    for image_id, category_id, (x, y, w, h), reason in OBJECTS:
        mask = np.zeros(SIZE, np.uint8, order="F")
        mask[y : y + h, x : x + w] = 1
        rle = mask_util.encode(mask)
        annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id}
        annotation |= {"bbox": [x, y, w, h], "area": w * h, "iscrowd": int(bool(reason))}
        annotation["segmentation"] = {"size": list(SIZE), "counts": rle["counts"].decode()}
        annotations.append({**annotation, "ignore_reason": reason})
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "train.json").write_text(json.dumps(coco))
    register([Prepared("part_train", tmp_path / "train.json", tmp_path)], CLASSES)
    return "part_train"


@pytest.fixture
def cfg_of(composed, dataset):
    def compose_cfg(*overrides):
        words = ("annotation=partial", f"d2.DATASETS.TRAIN=[{dataset}]", "d2.MODEL.DEVICE=cpu")
        return to_cfg(composed("+experiment=quickstart", *words, *overrides), "x")

    return compose_cfg


def test_targets_regions_and_verified_classes_are_told_apart(dataset):
    first, second, third = read_records([dataset], boxes=True)
    kinds = [(a["iscrowd"], a["has_mask"]) for a in first["annotations"]]
    assert kinds == [(0, True), (0, False), (1, False)]
    assert first["verified"] == [True, True, True, False]
    assert second["verified"] == [False, False, True, False]
    assert third["verified"] == [False, False, True, False]  # a box of the class: it is there
    assert [a["iscrowd"] for a in third["annotations"]] == [1]


def test_boxes_are_regions_where_they_are_not_to_be_learned(dataset):
    first, *_ = read_records([dataset], boxes=False)
    assert [a["iscrowd"] for a in first["annotations"]] == [0, 1, 1]


def test_a_file_without_verified_labels_is_taken_as_complete(dataset, tmp_path):
    content = json.loads((tmp_path / "train.json").read_text())
    for image in content["images"]:
        del image["positive_category_ids"], image["negative_category_ids"]
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert all(all(record["verified"]) for record in read_records([dataset], boxes=True))


def test_images_with_boxes_alone_are_trained_on_and_counted(cfg_of):
    records = find_records(cfg_of())
    assert [record["image_id"] for record in records] == [1, 2]
    objects = records.objects()
    assert objects.images[objects.is_target].tolist() == [0, 0, 1]
    assert objects.categories[objects.is_target].tolist() == [0, 2, 2]
    assert [r["image_id"] for r in find_records(cfg_of("annotation.boxes=false"))] == [1]
    assert [r["image_id"] for r in find_records(cfg_of("annotation=stock"))] == [1]


@pytest.mark.parametrize("choice", ["partial", "stock"])
def test_an_epoch_has_the_images_that_are_trained_on(cfg_of, tmp_path, choice):
    cfg = cfg_of(f"annotation={choice}")
    datasets = [Prepared("part_train", tmp_path / "train.json", tmp_path)]
    assert count_images(cfg, datasets, share=1.0) == len(find_records(cfg))


def map_first(cfg, seed=0, augment=None):
    records = find_records(cfg)
    return build_mapper(cfg, augment or {}, records)(records[0], seed)


def test_a_sample_has_what_was_said_about_its_image(cfg_of):
    sample = map_first(cfg_of("d2.INPUT.MIN_SIZE_TRAIN=[64]", "d2.INPUT.RANDOM_FLIP=none"))
    assert sample["instances"].gt_classes.tolist() == [0, 2]
    assert sample["instances"].gt_has_mask.tolist() == [True, False]
    assert sample["regions"].gt_classes.tolist() == [0]
    assert sample["regions"].gt_boxes.tensor.tolist() == [[30, 4, 40, 14]]
    assert sample["verified"].tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("words", "augment"),
    [
        (["d2.INPUT.RANDOM_FLIP=horizontal"], {}),
        (["d2.INPUT.MIN_SIZE_TRAIN=[32,128]"], {}),
        (["d2.INPUT.CROP.ENABLED=true"], {}),
        ([], {"large_scale_jitter": {"size": 96, "scale": [0.5, 2.0]}}),
        ([], {"square": {"min_size": 64, "max_size": 128, "pad_value": 0}}),
    ],
)
def test_regions_move_with_the_image(cfg_of, words, augment):
    cfg = cfg_of("d2.INPUT.MIN_SIZE_TRAIN=[64]", *words)
    moved = set()
    for seed in range(8):
        sample = map_first(cfg, seed, augment)
        assert sample["regions"].image_size == tuple(sample["image"].shape[1:])
        for box, mask in zip(sample["regions"].gt_boxes, sample["regions"].gt_masks, strict=True):
            rows, columns = np.nonzero(mask.numpy())
            tight = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            np.testing.assert_allclose(box.tolist(), tight, atol=1.6)
            moved.add(tuple(box.tolist()))
    assert moved != {(30.0, 4.0, 40.0, 14.0)}


@pytest.mark.parametrize(("smallest", "classes"), [(60, [0, 2]), (80, [0])])
def test_a_box_too_small_for_any_anchor_is_a_region_but_a_mask_is_not(cfg_of, smallest, classes):
    sizes = f"d2.MODEL.ANCHOR_GENERATOR.SIZES=[[{smallest}],[90],[100],[110],[120]]"
    words = ("d2.INPUT.MIN_SIZE_TRAIN=[64]", "d2.INPUT.RANDOM_FLIP=none", sizes)
    sample = map_first(cfg_of(*words))  # boxes of 20 x 40 with a mask and 48 x 30 without
    assert sample["instances"].gt_classes.tolist() == classes
    assert sorted(sample["regions"].gt_classes.tolist()) == [0] + [2] * (len(classes) == 1)


def test_only_objects_with_masks_are_pasted(cfg_of):
    cfg = cfg_of("d2.INPUT.MIN_SIZE_TRAIN=[64]", "d2.INPUT.RANDOM_FLIP=none")
    boxed, other = (build_mapper(cfg, {}, [])(one, 0) for one in find_records(cfg)[::-1])
    with seeded(0):
        found = CopyPaste(probability=1.0, share=1.0, min_visible=0.0)(boxed, lambda: other)
    assert found["instances"].gt_classes.tolist() == [2, 0]
    assert found["instances"].gt_has_mask.tolist() == [False, True]


def test_a_model_of_boxes_needs_no_masks(cfg_of):
    sample = map_first(cfg_of("d2.MODEL.MASK_ON=false"))
    assert not sample["instances"].has("gt_masks")
    assert len(sample["instances"]) == 2


def test_the_loader_hands_on_all_of_it(cfg_of):
    sampler = "d2.DATALOADER.SAMPLER_TRAIN=TrainingSampler"  # each image once
    cfg = cfg_of("d2.SOLVER.IMS_PER_BATCH=2", "d2.DATALOADER.NUM_WORKERS=1", sampler)
    loader = build_train_loader(cfg, {})
    batch = next(loader)
    loader.close()
    assert sorted(len(sample["regions"]) for sample in batch) == [0, 1]
    assert all(sample["verified"].dtype == torch.bool for sample in batch)
