import json
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from raising import refused

from oiv5_d2.acquisition.shards import read_mask_file
from oiv5_d2.conversion import chunks, coco_file, convert, masks, verify
from oiv5_d2.problems import Kind, Remedy

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


def ignore(_):
    """Stand where a progress bar would."""


def convert_desk(desk, workers=1):
    subset = desk.finish()
    converted = convert.convert(subset, desk.data_dir, workers, ignore)
    return subset, converted, convert.coco_path(desk.data_dir, "train")


def fill_with_many(desk, num_images):
    """Add images with an object each, enough for several chunks."""
    mask = np.zeros((9, 7), bool)
    mask[2:6, 1:5] = True
    jpg = desk.jpg("0", size=(16, 24))
    for number in range(num_images):
        image_id = f"{number * 7919 % 65536:04x}".ljust(16, "0")
        desk.add_image(image_id, content=jpg)
        desk.add_object(image_id, (0.1, 0.2, 0.7, 0.7), mask)


def assert_decodes_to_its_source(coco_path, subset, data_dir):
    """Compare every annotation with its row: mask files resized, crowds drawn as boxes."""
    images = {image["id"]: image for image in coco_file.read_records(coco_path, "images")}
    for annotation in coco_file.read_records(coco_path, "annotations"):
        image = images[annotation["image_id"]]
        row = subset.instances.iloc[annotation["id"] - 1]
        drawn = masks.decode(annotation["segmentation"])
        assert drawn.shape == (image["height"], image["width"])
        assert drawn.sum() == annotation["area"]
        if annotation["iscrowd"]:
            box = masks.RelBox(row.XMin, row.YMin, row.XMax, row.YMax)
            assert annotation["segmentation"] == masks.encode_box(box, *drawn.shape).rle
            assert annotation["bbox"] == pytest.approx(
                masks.to_xywh_abs(box, *drawn.shape), abs=1e-3
            )
        else:
            split = image["file_name"].split("/")[0]
            data = read_mask_file(data_dir / "masks", split, row.ImageID, row.MaskPath)
            png = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(drawn, masks.resize(png > 0, *drawn.shape))
            assert tuple(annotation["bbox"]) == masks.tight_box(drawn)


def assert_accounts_for_every_row(coco_path, subset, converted):
    left_out = {entry["open_images_id"] for entry in converted.left_out}
    ids = {annotation["id"] for annotation in coco_file.read_records(coco_path, "annotations")}
    for number, row in enumerate(subset.instances.itertuples(), start=1):
        assert (number in ids) == (row.ImageID not in left_out)
    assert converted.num_rows == len(subset.instances)
    assert converted.num_rows == converted.num_annotations + converted.num_left_out_rows
    assert converted.num_annotations == converted.num_objects + sum(converted.ignored.values())
    assert converted.num_images == len(subset.images) - len(left_out)


def test_every_annotation_decodes_to_its_resized_source_mask(odd_desk):
    subset, _, path = convert_desk(odd_desk)
    assert_decodes_to_its_source(path, subset, odd_desk.data_dir)


def test_every_row_is_an_annotation_or_on_an_image_left_out(odd_desk):
    subset, converted, path = convert_desk(odd_desk)
    assert_accounts_for_every_row(path, subset, converted)


def test_images_that_training_could_not_read_are_left_out_by_reason(odd_desk):
    _, converted, path = convert_desk(odd_desk)
    reasons = {entry["open_images_id"][0]: entry["reason"] for entry in converted.left_out}
    assert set(reasons) == set("4569")
    assert reasons["4"] == "turned by EXIF (orientation 6)"
    assert reasons["5"] == "missing"
    assert reasons["6"].startswith("unreadable: ") and "truncated" in reasons["6"]
    assert reasons["9"].startswith("unreadable: ") and str(odd_desk.data_dir) not in reasons["9"]
    assert convert.read_converted(path) == converted


def test_masks_that_give_nothing_become_crowds_by_reason(odd_desk):
    _, converted, _ = convert_desk(odd_desk)
    assert converted.ignored == {
        "depiction": 1,
        "empty mask": 1,
        "filtered: IsOccluded": 1,
        "group of": 1,
        "mask vanishes when resized": 1,
        "missing mask": 1,
        "no mask": 1,
        "unreadable mask": 2,
    }


def test_pycocotools_loads_the_file_and_its_masks(odd_desk, capsys):
    _, converted, path = convert_desk(odd_desk)
    loaded = COCO(str(path))
    assert len(loaded.imgs) == converted.num_images
    assert len(loaded.anns) == converted.num_annotations
    for annotation in loaded.anns.values():
        assert loaded.annToMask(annotation).sum() == annotation["area"]
    names = [category["name"] for category in loaded.loadCats([1, 2, 3, 4])]
    assert names == ["Person", "Traffic light", "Car", "Traffic sign"]


def test_detectron2_loads_the_file_with_one_to_one_categories(odd_desk, clean_catalog):
    pytest.importorskip("oiv5_d2.training.compat")
    from detectron2.data.datasets import load_coco_json

    _, converted, path = convert_desk(odd_desk)
    records = load_coco_json(str(path), str(odd_desk.data_dir / "images"), "odd_train")
    assert len(records) == converted.num_images
    objects = [annotation for record in records for annotation in record["annotations"]]
    assert len(objects) == converted.num_annotations
    assert all(type(side) is float for annotation in objects for side in annotation["bbox"])


def test_ids_are_ranks_in_the_subset_and_the_release_s_names_survive(odd_desk):
    subset, _, path = convert_desk(odd_desk)
    for image in coco_file.read_records(path, "images"):
        row = subset.images.iloc[image["id"] - 1]
        assert image["file_name"] == f"{row.Split}/{row.ImageID}.jpg"
        assert (odd_desk.data_dir / "images" / image["file_name"]).exists()
        assert (image["open_images_id"], image["title"]) == (row.ImageID, row.Title)
        assert (image["positive_category_ids"], image["negative_category_ids"]) == ([1, 3], [4])
    for annotation in coco_file.read_records(path, "annotations"):
        row = subset.instances.iloc[annotation["id"] - 1]
        assert (annotation["label"], annotation["box_id"]) == (row.LabelName, row.BoxID)
        assert annotation["is_occluded"] == row.IsOccluded
        assert annotation["is_group_of"] == row.IsGroupOf
        assert "ignore" not in annotation


def test_the_file_is_the_same_whatever_the_number_of_processes(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "IMAGES_PER_CHUNK", 16)
    monkeypatch.setattr(convert, "CHUNKS_PER_WORKER", 1)
    fill_with_many(desk, 50)
    subset, _, path = convert_desk(desk)
    first = path.read_bytes()
    for workers in (1, 2):
        path.unlink()
        convert.convert(subset, desk.data_dir, workers, ignore)
        assert path.read_bytes() == first
    moved = tmp_path / "elsewhere"
    shutil.copytree(desk.data_dir, moved)
    convert.convert(subset, moved, 1, ignore)
    assert convert.coco_path(moved, "train").read_bytes() == first


def test_progress_reaches_the_number_of_images(desk, monkeypatch):
    monkeypatch.setattr(chunks, "IMAGES_PER_CHUNK", 16)
    fill_with_many(desk, 50)
    steps = []
    convert.convert(desk.finish(), desk.data_dir, 1, steps.append)
    assert sum(steps) == 50 and len(steps) == 4


def test_a_conversion_that_was_stopped_goes_on_from_its_finished_chunks(desk, monkeypatch):
    monkeypatch.setattr(chunks, "IMAGES_PER_CHUNK", 16)
    fill_with_many(desk, 50)
    subset, _, path = convert_desk(desk)
    whole = path.read_bytes()
    path.unlink()

    class Stopped(Exception):
        pass

    def stop_after_two(num_images):
        seen.append(num_images)
        if len(seen) == 2:
            raise Stopped

    seen = []
    with pytest.raises(Stopped):
        convert.convert(subset, desk.data_dir, 1, stop_after_two)
    assert not path.exists()
    written = {
        p: p.stat().st_mtime_ns for p in (desk.data_dir / ".stamps").rglob("chunks-*/*/*.json")
    }
    assert len(written) == 2

    def touched(_):
        again.extend(p for p, time in written.items() if p.stat().st_mtime_ns != time)

    again = []
    convert.convert(subset, desk.data_dir, 1, touched)
    assert again == []
    assert path.read_bytes() == whole
    assert not list((desk.data_dir / ".stamps").rglob("chunks-*/*/*.json"))


def test_chunks_of_other_inputs_are_not_used(desk, monkeypatch):
    monkeypatch.setattr(chunks, "IMAGES_PER_CHUNK", 16)
    fill_with_many(desk, 50)
    subset = desk.finish()
    chunk_paths = []

    def keep(_):
        chunk_paths.extend((desk.data_dir / ".stamps").rglob("chunks-*/*/*.json"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.convert(subset, desk.data_dir, 1, keep)
    (old,) = chunk_paths
    desk.instances[0]["Ignore"] = "filtered: IsInside"
    changed = desk.finish()
    converted = convert.convert(changed, desk.data_dir, 1, ignore)
    assert converted.ignored == {"filtered: IsInside": 1}
    assert not old.exists()


def test_the_self_check_finds_what_differs_and_names_it(odd_desk):
    subset, converted, path = convert_desk(odd_desk)
    assert verify.verify(path, subset, odd_desk.data_dir, 1000) == converted.num_annotations
    assert verify.verify(path, subset, odd_desk.data_dir, 5) == 5
    assert verify.verify(path, subset, odd_desk.data_dir, 0) == 0
    whole = path.read_text()
    content = json.loads(whole)
    first = content["annotations"][0]
    for old, new, what in [
        (json.dumps(first["segmentation"]["counts"])[1:-1], "0" + "1" * 20, "mask"),
        (f'"area":{first["area"]},', f'"area":{first["area"] + 1},', "area"),
        (json.dumps(first["bbox"], separators=(",", ":")), "[0.0,0.0,1.0,1.0]", "box"),
        (first["mask_path"], "other.png", "row"),
    ]:
        path.write_text(whole.replace(old, new, 1))
        with refused(Kind.MISMATCH, remedy=Remedy.PREPARE_AGAIN, about=f"{what} of annotation 1 "):
            verify.verify(path, subset, odd_desk.data_dir, 1000)


def test_no_file_holds_a_time_or_a_path(odd_desk):
    _, _, path = convert_desk(odd_desk)
    assert str(odd_desk.data_dir.parent) not in path.read_text()


def test_a_part_without_images_or_objects_is_a_valid_file(desk):
    desk.add_image("0" * 16)
    subset, converted, path = convert_desk(desk)
    assert (converted.num_images, converted.num_annotations) == (1, 0)
    assert json.loads(path.read_text())["annotations"] == []
    assert list(coco_file.read_records(path, "annotations")) == []
    assert verify.verify(path, subset, desk.data_dir, 10) == 0


def test_a_damaged_file_is_one_clear_line(odd_desk):
    _, _, path = convert_desk(odd_desk)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about=path):
        list(coco_file.read_records(path, "annotations"))
    path.write_text("{}")
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about=path):
        convert.read_converted(path)
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE):
        convert.read_converted(path.with_name("absent.json"))


def test_a_subset_that_was_not_saved_is_refused(desk):
    desk.add_image("0" * 16)
    subset = desk.finish()
    shutil.rmtree(desk.data_dir / "subset")
    with pytest.raises(FileNotFoundError):
        convert.convert(subset, desk.data_dir, 1, ignore)


def test_licences_are_listed_once_and_referred_to(desk):
    desk.add_image("0" * 16)
    desk.add_image("1" * 16)
    desk.images[1]["License"] = "by-sa/2.0"
    _, _, path = convert_desk(desk)
    licences = {entry["id"]: entry["url"] for entry in coco_file.read_head(path)["licenses"]}
    images = list(coco_file.read_records(path, "images"))
    assert [licences[image["license"]] for image in images] == ["by/2.0", "by-sa/2.0"]
    assert Counter(licences.values()) == Counter({"by/2.0": 1, "by-sa/2.0": 1})
