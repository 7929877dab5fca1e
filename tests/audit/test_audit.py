import json
import shutil

import numpy as np
import pytest
from PIL import Image
from raising import refused

from oiv5_d2.acquisition.jpeg import read_header
from oiv5_d2.audit import measure as inspection
from oiv5_d2.audit import tables as summary
from oiv5_d2.audit.audit import audit, read_audit
from oiv5_d2.conversion import convert as coco
from oiv5_d2.conversion.adopt import Given, adopt
from oiv5_d2.conversion.masks import RelBox, decode, encode_box
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.selection import subset as subsets

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

WHOLE = 0.0, 0.0, 1.0, 1.0


def ignore(_):
    """Stand where a progress bar would."""


def prepare(desk, part="train"):
    coco.convert(desk.finish(part), desk.data_dir, 1, ignore)


def block(height, width, top, left, bottom, right):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def found(report, severity, kind, about=""):
    """Return the findings of a severity and a kind whose facts hold a name or a number."""
    return [
        f
        for f in report["findings"]
        if (f["severity"], f["kind"]) == (severity, kind) and about in f["what"]
    ]


@pytest.fixture
def odd_report(odd_desk):
    prepare(odd_desk)
    return audit(odd_desk.data_dir, ["train"])


def test_images_and_objects_are_counted_by_what_became_of_them(odd_report):
    images = odd_report["parts"]["train"]["images"]
    assert (images["wanted"], images["usable"], images["with_targets"]) == (11, 7, 4)
    assert [entry["reason"].split(":")[0] for entry in images["left_out"]] == [
        "turned by EXIF (orientation 6)",
        "missing",
        "unreadable",
        "unreadable",
    ]
    objects = odd_report["parts"]["train"]["objects"]
    assert objects["targets"] == 6
    assert objects["ignored"]["unreadable mask"] == 2
    assert images["num_rows_left_out"] == 4


def test_classes_are_counted_by_size_and_released_label(odd_report):
    classes = odd_report["parts"]["train"]["classes"]
    assert classes["Person"]["targets"] == 1
    assert list(classes["Person"]["labels"]) == ["/m/04yx4"]
    assert classes["Car"]["targets"] == sum(classes["Car"]["sizes"].values()) == 5
    assert classes["Traffic sign"] == {
        "images": 0,
        "targets": 0,
        "ignored": 0,
        "sizes": {"small": 0, "medium": 0, "large": 0},
        "labels": {},
    }


@pytest.mark.parametrize(
    ("side", "size"), [(31, "small"), (32, "medium"), (95, "medium"), (96, "large")]
)
def test_sizes_are_coco_s(desk, side, size):
    desk.add_image("0" * 16, size=(120, 130))
    desk.add_object("0" * 16, WHOLE, block(120, 130, 0, 0, side, side))
    prepare(desk)
    sizes = audit(desk.data_dir, ["train"])["parts"]["train"]["classes"]["Car"]["sizes"]
    assert sizes == {"small": 0, "medium": 0, "large": 0} | {size: 1}


def test_every_finding_has_a_severity_and_a_remedy_and_errors_come_first(odd_report):
    severities = [finding["severity"] for finding in odd_report["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert all(finding["what"] and finding["remedy"] for finding in odd_report["findings"])
    assert found(odd_report, "warning", "left_out", "4 of 11 ")
    assert found(odd_report, "warning", "lost_masks", "3 ")
    assert found(odd_report, "note", "empty_masks", "2 ")
    assert found(odd_report, "error", "no_target", "Traffic sign")
    assert found(odd_report, "note", "ignored", "9 ")


def test_it_is_written_and_the_same_each_time(odd_desk, odd_report):
    path = odd_desk.data_dir / "audit.json"
    first = path.read_bytes()
    assert json.loads(first) == json.loads(json.dumps(odd_report)) == read_audit(odd_desk.data_dir)
    audit(odd_desk.data_dir, ["train"])
    assert path.read_bytes() == first
    assert str(odd_desk.data_dir).encode() not in first


def test_workers_do_not_change_it(odd_desk, odd_report, monkeypatch):
    monkeypatch.setattr(inspection, "IMAGES_PER_TASK", 2)
    monkeypatch.setattr(inspection, "TASKS_PER_WORKER", 1)
    first = (odd_desk.data_dir / "audit.json").read_bytes()
    steps = []
    audit(odd_desk.data_dir, ["train"], workers=2, advance=steps.append)
    assert (odd_desk.data_dir / "audit.json").read_bytes() == first
    assert sum(steps) == 7


def test_the_iou_of_mask_and_box_and_the_pixels_outside_are_those_of_the_drawn_ones(odd_desk):
    prepare(odd_desk)
    path = coco.coco_path(odd_desk.data_dir, "train")
    subset = subsets.load(odd_desk.data_dir / "subset", "train")
    images = inspection.read_images(path)
    objects = inspection.measure_objects(path, images, inspection.released_boxes(subset)).set_index(
        "Id"
    )
    for annotation in json.loads(path.read_text())["annotations"]:
        measured = objects.loc[annotation["id"]]
        if annotation["iscrowd"]:
            assert np.isnan(measured.BoxIoU)
            continue
        mask = decode(annotation["segmentation"])
        row = subset.instances.iloc[annotation["id"] - 1]
        drawn = decode(encode_box(RelBox(row.XMin, row.YMin, row.XMax, row.YMax), *mask.shape).rle)
        assert measured.Outside == pytest.approx((mask & ~drawn).sum() / mask.sum())
        tight = np.zeros_like(mask)
        x, y, w, h = map(int, annotation["bbox"])
        tight[y : y + h, x : x + w] = True
        overlap = (tight & drawn).sum() / (tight | drawn).sum()
        assert measured.BoxIoU == pytest.approx(overlap, abs=0.1)  # the box is not whole pixels


def test_a_mask_that_does_not_fit_its_box_is_named(desk):
    desk.add_image("0" * 16)
    desk.add_object("0" * 16, (0.0, 0.0, 0.5, 0.5), block(60, 90, 30, 45, 60, 90))
    desk.add_object("0" * 16, (0.0, 0.0, 0.5, 0.5), block(60, 90, 0, 0, 30, 45))
    prepare(desk)
    report = audit(desk.data_dir, ["train"])
    described = report["parts"]["train"]
    assert described["mask_box_iou"]["num_poor"] == 1
    assert described["mask_box_iou"]["counts"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    worst = described["outside_box"]["worst"]
    assert [(entry["annotation_id"], entry["value"]) for entry in worst] == [(1, 1.0)]
    for kind in ("poor_fit", "outside_box"):
        (finding,) = found(report, "warning", kind)
        assert f"{'0' * 16}_0.png" in finding["what"] and f"{'0' * 16}_1" not in finding["what"]


def test_tiny_masks_are_named(desk):
    desk.add_image("0" * 16)
    desk.add_object("0" * 16, WHOLE, block(60, 90, 0, 0, 3, 5))
    desk.add_object("0" * 16, WHOLE, block(60, 90, 0, 0, 4, 4))
    prepare(desk)
    report = audit(desk.data_dir, ["train"])
    assert [entry["value"] for entry in report["parts"]["train"]["tiny"]["worst"]] == [15]
    assert found(report, "note", "tiny", "16 px")


def test_predicted_ious_are_binned_and_absent_ones_are_not(desk):
    desk.add_image("0" * 16)
    for value in (0.05, 0.55, 0.58, 1.0, np.nan):
        desk.add_object("0" * 16, WHOLE, block(60, 90, 0, 0, 30, 30), PredictedIoU=value)
    prepare(desk)
    known = audit(desk.data_dir, ["train"])["parts"]["train"]["predicted_iou"]
    assert known["num"] == 4
    assert known["counts"] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 1]


def test_images_that_changed_after_the_conversion_are_errors(desk):
    ids = [f"{digit}{'0' * 15}" for digit in "01234"]
    for image_id in ids:
        desk.add_image(image_id)
        desk.add_object(image_id, WHOLE, block(60, 90, 0, 0, 30, 30))
    prepare(desk)
    paths = [desk.data_dir / "images" / "train" / f"{image_id}.jpg" for image_id in ids]
    paths[0].write_bytes(desk.jpg("0", size=(30, 40)))
    paths[1].write_bytes(desk.jpg("1", orientation=8))
    paths[2].write_bytes(paths[2].read_bytes()[:-900])
    paths[3].unlink()
    report = audit(desk.data_dir, ["train"])
    faults = report["parts"]["train"]["images"]["faults"]
    assert {kind: entries[0]["open_images_id"] for kind, entries in faults.items()} == {
        "missing": ids[3],
        "size": ids[0],
        "turned": ids[1],
        "unreadable": ids[2],
    }
    assert faults["size"][0]["detail"] == "40 x 30, not 90 x 60"
    assert all(found(report, "error", kind) for kind in faults)


def test_damage_that_only_a_full_decode_finds_is_found(desk):
    desk.add_image("0" * 16)
    desk.add_object("0" * 16, WHOLE, block(60, 90, 0, 0, 30, 30))
    prepare(desk)
    path = desk.data_dir / "images" / "train" / f"{'0' * 16}.jpg"
    whole = path.read_bytes()
    tables = whole.index(b"\xff\xc4") + 5
    path.write_bytes(whole[:tables] + bytes(16) + whole[tables + 16 :])  # no Huffman codes at all
    assert read_header(path) == (60, 90, 1)
    report = audit(desk.data_dir, ["train"])
    assert "unreadable" in report["parts"]["train"]["images"]["faults"]


def two_parts(desk):
    """Prepare part train of ids 0 and 1, and part validation of ids 1 and 2."""
    for part, digits in [("train", "01"), ("validation", "12")]:
        desk.images.clear(), desk.instances.clear(), desk.zips.clear()
        for digit in digits:
            image_id = f"{digit}{'0' * 15}"
            desk.add_image(image_id)
            desk.add_object(image_id, WHOLE, block(60, 90, 0, 0, 30, 30))
        prepare(desk, part)


def test_an_image_in_two_parts_is_an_error(desk):
    two_parts(desk)
    report = audit(desk.data_dir, ["train", "validation"])
    shared = "1" + "0" * 15
    assert report["leakage"]["same_id"] == [[("train", shared), ("validation", shared)]]
    assert found(report, "error", "same_id", f"train {shared} = validation {shared}")


def test_equal_bytes_under_other_names_are_found(desk):
    same = desk.jpg("7")
    for digit in "01":
        desk.add_image(f"{digit}{'0' * 15}", content=same)
    prepare(desk)
    desk.images.clear()
    desk.add_image(f"2{'0' * 15}", content=same)
    desk.add_image(f"3{'0' * 15}")
    prepare(desk, "validation")
    report = audit(desk.data_dir, ["train", "validation"])
    assert report["leakage"]["same_id"] == []
    assert len(report["leakage"]["same_bytes"][0]) == 3
    assert found(report, "warning", "same_bytes")
    report = audit(desk.data_dir, ["train"])
    assert report["leakage"]["same_bytes"] == [] and len(report["leakage"]["copies"]) == 1
    assert found(report, "error", "copies")  # both of the two images


def test_few_images_that_are_the_same_are_a_warning(desk):
    same = desk.jpg("7")
    for number in range(70):
        desk.add_image(f"{number:016x}", content=same if number < 2 else None)
    prepare(desk)
    report = audit(desk.data_dir, ["train"])
    assert found(report, "warning", "copies", f"{0:016x} = {1:016x}")


@pytest.mark.parametrize(
    ("mask_size", "shape"),
    [((45, 30), "turned"), ((45, 45), "other"), ((40, 61), ""), ((20, 30), "")],
)
def test_images_that_were_turned_or_padded_are_an_error(desk, mask_size, shape):
    image_id = "0" * 16  # 60 x 90
    desk.add_image(image_id)
    desk.add_object(image_id, WHOLE, block(*mask_size, 0, 0, *mask_size))
    prepare(desk)
    report = audit(desk.data_dir, ["train"])
    assert bool(found(report, "error", "other_shape", f"{image_id} {shape}")) == bool(shape)


def test_masks_that_are_inverted_or_empty_are_an_error_if_most_are(desk):
    box = 0.1, 0.3, 0.1, 0.3
    for number in range(6):
        desk.add_image(f"{number:016x}")
        mask = block(60, 90, 6, 9, 18, 27)
        desk.add_object(f"{number:016x}", box, ~mask if number < 4 else mask)
    prepare(desk)
    assert found(audit(desk.data_dir, ["train"]), "error", "poor_fit")


def test_uneven_classes_come_with_the_settings_to_use(desk):
    for number in range(40):
        image_id = f"{number:016x}"
        desk.add_image(image_id)
        for _ in range(2):
            desk.add_object(image_id, WHOLE, block(60, 90, 0, 0, 30, 30), class_name="Person")
    desk.add_object("0" * 16, WHOLE, block(60, 90, 0, 0, 30, 30), class_name="Traffic light")
    prepare(desk)
    report = audit(desk.data_dir, ["train"])
    (finding,) = found(report, "warning", "imbalance", "80 times the objects of Traffic light")
    assert "d2.DATALOADER.SAMPLER_TRAIN=RepeatFactorTrainingSampler" in finding["remedy"]
    assert "d2.DATALOADER.REPEAT_THRESHOLD=" in finding["remedy"]


def test_less_is_required_of_a_part_for_evaluation(odd_desk):
    prepare(odd_desk)
    report = audit(odd_desk.data_dir, ["train"], train_parts=["elsewhere"])
    assert found(report, "warning", "nothing_to_evaluate", "Traffic light, Traffic")
    assert found(report, "note", "few_to_evaluate", "Person 1, Car 5")
    assert not found(report, "error", "no_target")


def test_tables_hold_what_people_want_to_see(odd_desk, odd_report):
    shown = {table.title.split(" (")[0]: table for table in summary.tables(odd_report)}
    assert ("train", "11", "4", "7", "4", "0") in shown["Images"].rows
    assert ("Car", "5 (1/4/0)") in shown["Training targets"].rows
    assert ("unreadable mask", "2") in shown["Ignored objects, by reason"].rows
    assert len(shown["Findings"].rows) == len(odd_report["findings"])
    for table in shown.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(isinstance(cell, str) for row in table.rows for cell in row)


def test_a_part_without_a_single_usable_image_is_reported(desk):
    desk.add_image("0" * 16, content=False)
    desk.add_object("0" * 16, WHOLE, block(60, 90, 0, 0, 30, 30))
    prepare(desk)
    report = audit(desk.data_dir, ["train"])
    assert report["parts"]["train"]["images"]["usable"] == 0
    assert found(report, "warning", "left_out", "1 of 1 ")
    assert summary.tables(report)


def test_a_folder_that_was_not_prepared_or_is_damaged_is_refused(odd_desk):
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE):
        audit(odd_desk.data_dir, ["train"])
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE):
        read_audit(odd_desk.data_dir)
    prepare(odd_desk)
    audit(odd_desk.data_dir, ["train"])
    (odd_desk.data_dir / "audit.json").write_text("{")
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN):
        read_audit(odd_desk.data_dir)
    shutil.rmtree(odd_desk.data_dir / "subset")
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE, about="train"):
        audit(odd_desk.data_dir, ["train"])


@pytest.fixture
def adopted(tmp_path):
    """Two ready COCO files: ids of images are the same numbers, one image is in both."""
    mine, data_dir = tmp_path / "mine", tmp_path / "data"
    mine.mkdir()
    for name in ("a", "b", "c"):
        noise = np.random.default_rng(ord(name)).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(mine / f"{name}.jpg")
    square = {"bbox": [5, 5, 20, 20], "segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]]}
    for part, names in {"train": "ab", "validation": "bc"}.items():
        images = [{"id": i, "file_name": f"{n}.jpg"} for i, n in enumerate(names)]
        objects = [{"id": 7 + i, "image_id": i, "category_id": 3, **square} for i in range(2)]
        objects.append({**objects[0], "id": 99, "bbox": [30, 5, 9, 9], "segmentation": []})
        content = {"images": images, "annotations": objects, "categories": [{"id": 3, "name": "x"}]}
        (mine / f"{part}.json").write_text(json.dumps(content))
        adopt(Given(mine / f"{part}.json"), ["x"], data_dir / "coco" / f"{part}.json")
    return data_dir


def test_ready_coco_files_are_audited_too(adopted):
    report = audit(adopted, ["train", "validation"], ["train"])
    assert read_audit(adopted)["findings"] == report["findings"]
    objects = report["parts"]["train"]["classes"]["x"]
    assert (objects["targets"], objects["ignored"]) == (2, 1)
    kinds = [(found["kind"], found["severity"]) for found in report["findings"]]
    assert ("same_id", "error") in kinds  # the image that is in both, and it alone
    assert len(report["leakage"]["same_id"]) == 1
    assert not {"poor_fit", "outside_box", "left_out"} & {kind for kind, _ in kinds}


def test_a_class_whose_objects_are_all_ignored_is_an_error_with_the_reasons(adopted):
    given = adopted.parent / "mine" / "train.json"
    content = json.loads(given.read_text())
    for one in content["annotations"]:
        one["iscrowd"] = int(bool(one["segmentation"]))
    given.write_text(json.dumps(content))
    adopt(Given(given), ["x"], adopted / "coco" / "train.json")
    report = audit(adopted, ["train"], ["train"])
    assert found(report, "error", "no_target", "crowd 2, no mask 1")
