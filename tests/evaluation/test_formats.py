import base64
import csv
import gzip
import json
import zlib

import numpy as np
import pytest
from judging import SIZE, annotate, block, detect, random_case, read, write
from raising import refused

from oiv5_d2.evaluation.files import evaluate_file
from oiv5_d2.evaluation.formats import read_predictions, write_coco, write_csv
from oiv5_d2.evaluation.truth import read_truth
from oiv5_d2.problems import Kind

MIDS = {"Person": "/m/01g317", "Traffic light": "/m/015qff", "Car": "/m/0k4j"}
MIDS |= {"Traffic sign": "/m/01mqdt"}


@pytest.fixture
def case(tmp_path):
    """A random case, as it is in files and as arrays."""
    content = random_case(4)
    return content, write(tmp_path, *content), read(tmp_path / "again", *content)


def assert_equal(one, other, boxes=True):
    for name in ("image", "category", "scores", *(["boxes"] if boxes else [])):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)
    assert [one.masks[i] for i in range(len(one))] == [other.masks[i] for i in range(len(other))]


def test_gzipped_files_are_read_as_they_are(case, tmp_path):
    _, paths, (_, found) = case
    zipped = [tmp_path / f"{path.name}.gz" for path in paths]
    for path, target in zip(paths, zipped, strict=True):
        target.write_bytes(gzip.compress(path.read_bytes()))
    truth = read_truth(zipped[0])
    assert_equal(read_predictions(zipped[1], truth, {})[0], found)


@pytest.mark.parametrize("key", ["open_images_id", "file_name", "id"])
def test_images_and_classes_may_be_named_by_any_of_their_names(key, case, tmp_path):
    (content, found), _, (truth, expected) = case
    images = {image["id"]: image for image in content["images"]}
    names = {one["id"]: one["name"] for one in content["categories"]}
    renamed = [
        one
        | {"image_id": str(images[one["image_id"]][key]), "category_id": names[one["category_id"]]}
        for one in found
    ]
    (tmp_path / "f.json").write_text(json.dumps(renamed))
    assert_equal(read_predictions(tmp_path / "f.json", truth, {})[0], expected)


def test_a_segmentation_may_be_polygons_or_counts(tmp_path):
    x, y, w, h = 4, 6, 10, 8
    corners = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    counts = np.diff(np.flatnonzero(np.diff(block(x, y, w, h).T.ravel(), prepend=0, append=0)))
    first = x * SIZE[0] + y
    rest = SIZE[0] * SIZE[1] - first - int(counts.sum())
    truth, _ = random_case(0)
    truth["annotations"] = [annotate(1, 1, block(x, y, w, h), [x, y, w, h]) | {"id": 1}]
    one = detect(1, 1, block(x, y, w, h), (x, y, w, h))
    uncompressed = {"size": list(SIZE), "counts": [first, *counts.tolist(), rest]}
    forms = [one | {"segmentation": form} for form in (corners, uncompressed)]
    loaded, found = read(tmp_path, truth, forms)
    assert found.masks.areas.tolist() == [w * h, w * h]
    assert loaded.mask_areas.tolist() == [w * h]


def test_a_detection_without_box_has_its_masks(tmp_path):
    truth, _ = random_case(0)
    one = detect(1, 1, block(4, 6, 10, 8), (0, 0, 0, 0))
    del one["bbox"]
    _, found = read(tmp_path, truth, [one])
    assert found.boxes.tolist() == [[4, 6, 10, 8]]


def test_what_is_written_is_read_again(case, tmp_path):
    _, _, (truth, found) = case
    write_coco(tmp_path / "out.json", found, truth)
    assert_equal(read_predictions(tmp_path / "out.json", truth, {})[0], found)
    write_csv(tmp_path / "out.csv", found, truth, MIDS)
    again, notes = read_predictions(tmp_path / "out.csv", truth, MIDS)
    assert_equal(again, found, boxes=False)  # a mask's row has no box: the tight one is taken
    assert notes == []


def test_the_challenges_rows_have_its_columns_and_its_masks(case, tmp_path):
    _, _, (truth, found) = case
    write_csv(tmp_path / "out.csv", found, truth, MIDS)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["ImageID", "ImageWidth", "ImageHeight", "LabelName", "Score", "Mask"]
    first = rows[0]
    assert first["ImageID"] == truth.images[found.image[0]]["open_images_id"]
    assert first["LabelName"] == MIDS[truth.classes[found.category[0]]]
    assert (first["ImageHeight"], first["ImageWidth"]) == tuple(map(str, SIZE))
    assert zlib.decompress(base64.b64decode(first["Mask"])) == found.masks[0]["counts"]


def test_boxes_alone_are_fractions_in_the_csv(case, tmp_path):
    (_, results), _, (truth, found) = case
    for one in results:
        del one["segmentation"]
    (tmp_path / "boxes.json").write_text(json.dumps(results))
    boxes, _ = read_predictions(tmp_path / "boxes.json", truth, {})
    write_csv(tmp_path / "boxes.csv", boxes, truth, MIDS)
    again, _ = read_predictions(tmp_path / "boxes.csv", truth, MIDS)
    np.testing.assert_allclose(again.boxes, found.boxes, atol=1e-9)


def test_the_submission_form_with_all_detections_of_an_image_in_a_row_is_read(case, tmp_path):
    _, _, (truth, found) = case
    masks = {i: [] for i in range(len(truth.images))}
    boxes = {i: [] for i in range(len(truth.images))}
    for i in range(len(found)):
        label, mask = MIDS[truth.classes[found.category[i]]], found.masks[i]["counts"]
        packed = base64.b64encode(zlib.compress(mask)).decode()
        masks[found.image[i]] += [label, repr(float(found.scores[i])), packed]
        x, y, w, h = found.boxes[i].tolist()
        sides = (x / SIZE[1], y / SIZE[0], (x + w) / SIZE[1], (y + h) / SIZE[0])
        boxes[found.image[i]] += [label, repr(float(found.scores[i])), *map(repr, sides)]
    with (tmp_path / "m.csv").open("w") as m, (tmp_path / "b.csv").open("w") as b:
        m.write("ImageID,ImageWidth,ImageHeight,PredictionString\n")
        b.write("ImageId,PredictionString\n")
        for i, image in enumerate(truth.images):
            m.write(f"{image['open_images_id']},{SIZE[1]},{SIZE[0]},{' '.join(masks[i])}\n")
            b.write(f"{image['open_images_id']},{' '.join(boxes[i])}\n")
    of_masks, of_boxes = (
        read_predictions(tmp_path / name, truth, MIDS)[0] for name in ("m.csv", "b.csv")
    )
    order = np.argsort(found.image, kind="stable")
    assert_equal(of_masks, found.take(order), boxes=False)
    np.testing.assert_allclose(of_boxes.boxes, found.take(order).boxes, atol=1e-9)


@pytest.mark.parametrize("text", ["[]", "ImageID,ImageWidth,ImageHeight,LabelName,Score,Mask\n"])
def test_no_detection_at_all_scores_zero(text, case, tmp_path):
    _, paths, _ = case
    (tmp_path / "none").write_text(text)
    results = evaluate_file(tmp_path / "none", paths[0], tmp_path / "out")
    assert results.tasks["segm"]["AP"] == results.tasks["open_images/segm"]["AP50"] == 0


def test_what_is_not_in_the_truth_is_left_out_and_told(case, tmp_path):
    (_, results), _, (truth, found) = case
    extra = [results[0] | {"image_id": "ffff"}, results[0] | {"category_id": "Bus"}]
    (tmp_path / "f.json").write_text(json.dumps([*extra, *results]))
    again, notes = read_predictions(tmp_path / "f.json", truth, {})
    assert_equal(again, found)
    assert len(notes) == 2 and all(note.startswith("1 detections") for note in notes)


def test_predictions_for_other_data_are_refused(case, tmp_path):
    (_, results), _, (truth, _) = case
    (tmp_path / "f.json").write_text(json.dumps([results[0] | {"image_id": "ffff"}]))
    with refused(Kind.MISMATCH, key="predictions"):
        read_predictions(tmp_path / "f.json", truth, {})


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", '{"a": 1}', '[{"image_id": 1}]', "a,b\n1,2\n",
        '[{"image_id": 1, "category_id": 1, "score": 0.5}]',
        '[{"image_id": 1, "category_id": 1, "score": NaN, "bbox": [0, 0, 1, 1]}]',
        '[{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [0, 0, 1]}]',
        "ImageID,ImageWidth,ImageHeight,LabelName,Score,Mask\n1,64,48,Car,0.5,@@\n",
        "ImageID,ImageWidth,ImageHeight,LabelName,Score,Mask\n1,64,47,Car,0.5,eJwDAAAAAAE=\n",
    ],
)  # fmt: skip
def test_a_file_that_is_neither_format_is_refused(text, case, tmp_path):
    _, _, (truth, _) = case
    (tmp_path / "f").write_text(text)
    with refused(Kind.DAMAGED, key="predictions"):
        read_predictions(tmp_path / "f", truth, {})


def test_a_mask_of_another_size_than_its_image_is_refused(case, tmp_path):
    (_, results), _, (truth, _) = case
    wrong = results[0] | {"segmentation": {"size": [9, 9], "counts": "1"}}
    (tmp_path / "f.json").write_text(json.dumps([wrong]))
    with refused(Kind.DAMAGED, key="predictions"):
        read_predictions(tmp_path / "f.json", truth, {})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [], "categories": []}'])
def test_a_truth_that_is_no_coco_file_is_refused(text, tmp_path):
    (tmp_path / "t.json").write_text(text)
    with refused(Kind.DAMAGED):
        read_truth(tmp_path / "t.json")


def test_a_truth_of_boxes_is_judged_on_boxes(case, tmp_path):
    (content, _), paths, _ = case
    for one in content["annotations"]:
        del one["segmentation"]
    paths[0].write_text(json.dumps(content))
    results = evaluate_file(paths[1], paths[0], tmp_path / "out")
    assert set(results.tasks) == {"bbox", "open_images/bbox"}


def test_a_file_that_does_not_say_what_was_verified_is_judged_and_told(case, tmp_path):
    (content, _), paths, _ = case
    for image in content["images"]:
        del image["positive_category_ids"], image["negative_category_ids"]
    paths[0].write_text(json.dumps(content))
    results = evaluate_file(paths[1], paths[0], tmp_path / "out")
    deviations = results.protocols["open_images"].deviations
    assert any("verified" in one for one in deviations)


def test_an_ignored_region_without_any_reason_is_a_group(tmp_path):
    truth, _ = random_case(0)
    truth["annotations"] = [annotate(1, 1, block(4, 4, 9, 9), [4, 4, 9, 9], "group") | {"id": 1}]
    for key in ("is_group_of", "ignore_reason"):
        del truth["annotations"][0][key]
    loaded, _ = read(tmp_path, truth, [])
    assert loaded.is_group_of.tolist() == [True]
