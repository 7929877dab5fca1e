"""The Open Images metric.

`organisers.json` has what the organisers' evaluator (TensorFlow Object Detection API, sdist
tf-models-research-object-detection 2.8.0.post1) returned for the cases of `judging.random_case`:
AP50 and AP50 of each class, null where there is nothing to find.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from judging import CLASSES, annotate, block, detect, random_case, read

from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.open_images import evaluate

ORGANISERS = json.loads((Path(__file__).parent / "organisers.json").read_text())
PERSON, LIGHT, CAR = 1, 2, 3


@pytest.mark.parametrize("task", ["segm", "bbox"])
@pytest.mark.parametrize(
    "seeds", [range(50), pytest.param(range(50, len(ORGANISERS)), marks=pytest.mark.slow)]
)
def test_it_gives_the_organisers_numbers(seeds, task, tmp_path):
    for seed in seeds:
        expected = ORGANISERS[seed]
        truth, found = read(tmp_path, *random_case(seed, has_hierarchy=seed % 2 == 1))
        metrics = evaluate(truth, found, task, read_above(truth, {}, None))
        assert list(metrics) == ["AP50", *(f"AP50-{name}" for name in truth.classes)]
        wanted = [math.nan if value is None else value for value in expected[task]]
        np.testing.assert_allclose(list(metrics.values()), wanted, rtol=0, atol=1e-9, err_msg=seed)


def judge(tmp_path, objects, found, task="segm", positive=(), negative=(), parents=None):
    """Return AP50 by class of one image."""
    image = {"id": 1, "height": 48, "width": 64, "file_name": "a.jpg"}
    image |= {"positive_category_ids": list(positive), "negative_category_ids": list(negative)}
    parents = parents or {}
    categories = [
        {"id": i, "name": n, "supercategory": parents.get(n, "")} for i, n in enumerate(CLASSES, 1)
    ]
    content = {"images": [image], "categories": categories, "annotations": objects}
    truth, found = read(tmp_path, content, found)
    metrics = evaluate(truth, found, task, read_above(truth, {}, None))
    return {name.removeprefix("AP50-"): value for name, value in metrics.items()}


def an_object(x=5, y=5, w=20, h=20, category=CAR, kind="object", cut=False):
    return annotate(1, category, block(x, y, w, h, cut), [float(v) for v in (x, y, w, h)], kind)


def a_detection(score, x=5, y=5, w=20, h=20, category=CAR, cut=False):
    return detect(1, category, block(x, y, w, h, cut), (x, y, w, h), score)


def test_an_overlap_of_exactly_a_half_is_enough(tmp_path):
    assert judge(tmp_path, [an_object(w=20)], [a_detection(0.5, w=10)])["Car"] == 100
    assert judge(tmp_path, [an_object(w=20)], [a_detection(0.5, w=9)])["Car"] == 0


def test_the_area_under_the_whole_curve_counts(tmp_path):
    objects = [an_object(5), an_object(35)]
    found = [a_detection(0.9, 5), a_detection(0.8, 5, y=27), a_detection(0.7, 35)]
    assert judge(tmp_path, objects, found)["Car"] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))


def test_the_mean_is_over_classes_with_something_to_find(tmp_path):
    metrics = judge(tmp_path, [an_object(), an_object(35, category=PERSON)], [a_detection(0.5)])
    assert metrics["Car"] == 100 and metrics["Person"] == 0 and metrics["AP50"] == 50
    assert math.isnan(metrics["Traffic light"])


@pytest.mark.parametrize(("labels", "expected"), [({}, 100), ({"negative": [LIGHT]}, 50)])
def test_only_verified_classes_count_on_an_image(labels, expected, tmp_path):
    """A car at the place of a light: the light is false only where none was verified."""
    image = {"id": 2, "height": 48, "width": 64, "file_name": "b.jpg"}
    content = {
        "images": [image | {"id": 1, "positive_category_ids": []}, image],
        "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1)],
        "annotations": [an_object(category=LIGHT)],
    }
    content["images"][1] = image | {f"{k}_category_ids": v for k, v in labels.items()}
    found = [
        {**a_detection(0.9, category=LIGHT), "image_id": 2},
        a_detection(0.5, category=LIGHT),
    ]
    truth, found = read(tmp_path, content, found)
    metrics = evaluate(truth, found, "segm", read_above(truth, {}, None))
    assert metrics["AP50-Traffic light"] == expected


def test_a_detection_looks_at_its_best_truth_only(tmp_path):
    """The second detection overlaps both cars enough, but its best one is taken."""
    objects = [an_object(5, w=20), an_object(5, w=26)]
    found = [a_detection(0.9, w=20), a_detection(0.8, w=21)]
    assert judge(tmp_path, objects, found)["Car"] == 50


def test_the_first_detection_of_an_object_without_mask_is_ignored_the_second_is_false(tmp_path):
    objects = [an_object(5), an_object(35, kind="no mask")]
    ignored = [a_detection(0.9, 35), a_detection(0.5, 5)]
    assert judge(tmp_path, objects, ignored)["Car"] == 100
    assert judge(tmp_path, objects, [a_detection(0.8, 35), *ignored])["Car"] == 50


def test_an_object_without_mask_is_compared_with_the_masks_tight_box(tmp_path):
    objects = [an_object(5), an_object(35, kind="no mask")]
    found = [a_detection(0.9, 35) | {"bbox": [0.0, 0.0, 4.0, 4.0]}, a_detection(0.5, 5)]
    assert judge(tmp_path, objects, found)["Car"] == 100


@pytest.mark.parametrize("kind", ["empty", "nothing", "depiction"])
def test_what_has_no_mask_is_nothing_to_find(kind, tmp_path):
    assert math.isnan(judge(tmp_path, [an_object(kind=kind)], [a_detection(0.5)])["Car"])


def test_an_object_inside_is_ordinary(tmp_path):
    assert judge(tmp_path, [an_object(kind="inside")], [])["Car"] == 0


def test_any_number_of_detections_inside_a_group_are_ignored(tmp_path):
    objects = [an_object(5, 5, 10, 10), an_object(30, 0, 30, 40, kind="group")]
    found = [a_detection(0.9, 32 + i, 5 + i, 8, 8) for i in range(3)]
    assert judge(tmp_path, objects, [*found, a_detection(0.5, 5, 5, 10, 10)])["Car"] == 100


def test_a_group_counts_if_half_of_the_detection_is_inside(tmp_path):
    objects = [an_object(5, 30, 10, 10), an_object(30, 0, 20, 20, kind="group")]
    right = a_detection(0.5, 5, 30, 10, 10)
    assert judge(tmp_path, objects, [a_detection(0.9, 40, 0, 20, 20), right])["Car"] == 100
    assert judge(tmp_path, objects, [a_detection(0.9, 41, 0, 20, 20), right])["Car"] == 50


def test_in_the_box_metric_a_group_is_one_object(tmp_path):
    objects = [an_object(5, 5, 10, 10), an_object(30, 0, 30, 40, kind="group")]
    inside = [a_detection(0.9 - i / 10, 32 + i, 5, 8, 8) for i in range(3)]
    right = a_detection(0.5, 5, 5, 10, 10)
    assert judge(tmp_path, objects, [*inside, right], task="bbox")["Car"] == 100
    assert judge(tmp_path, objects, [right], task="bbox")["Car"] == 50


def test_an_unknown_group_attribute_is_a_group(tmp_path):
    objects = [an_object(5, 5, 10, 10), an_object(30, 0, 30, 40, kind="unknown")]
    found = [a_detection(0.9, 32, 5, 8, 8), a_detection(0.5, 5, 5, 10, 10)]
    assert judge(tmp_path, objects, found)["Car"] == 100


def test_a_detection_with_an_empty_mask_is_dropped(tmp_path):
    nothing = a_detection(0.9) | {
        "segmentation": detect(1, CAR, block(0, 0, 0, 0), [])["segmentation"]
    }
    assert judge(tmp_path, [an_object()], [nothing, a_detection(0.5)])["Car"] == 100


def test_an_object_is_one_of_the_classes_above_its_own(tmp_path):
    man = an_object(category=5)
    found = [a_detection(0.5, category=PERSON)]
    metrics = judge(tmp_path, [man], found, parents={"Man": "Person"})
    assert metrics["Person"] == 100 and metrics["Man"] == 0
    assert math.isnan(judge(tmp_path, [man], found)["Person"])


def test_absence_goes_down_the_tree_and_not_up(tmp_path):
    """No person means no man; no man says nothing about persons."""
    image = {"height": 48, "width": 64, "file_name": "a.jpg"}
    categories = [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1)]
    categories[4]["supercategory"] = "Person"
    content = {
        "images": [
            image | {"id": 1},
            image | {"id": 2, "negative_category_ids": [PERSON]},
            image | {"id": 3, "negative_category_ids": [5]},
        ],
        "categories": categories,
        "annotations": [an_object(category=5)],
    }
    found = [a_detection(0.5, category=c) for c in (PERSON, 5)]
    found += [a_detection(0.9, category=5) | {"image_id": 2}]
    found += [a_detection(0.9, category=PERSON) | {"image_id": 3}]
    truth, found = read(tmp_path, content, found)
    metrics = evaluate(truth, found, "segm", read_above(truth, {}, None))
    assert metrics["AP50-Man"] == 50 and metrics["AP50-Person"] == 100


def test_equal_scores_are_ranked_by_their_place_in_the_file(tmp_path):
    wrong, right = a_detection(0.5, 40), a_detection(0.5, 5)
    assert judge(tmp_path, [an_object(5)], [right, wrong])["Car"] == 100
    assert judge(tmp_path, [an_object(5)], [wrong, right])["Car"] == 50


def test_without_any_detection_every_class_present_is_zero(tmp_path):
    metrics = judge(tmp_path, [an_object()], [])
    assert metrics["Car"] == metrics["AP50"] == 0
    assert math.isnan(metrics["Person"])


def test_a_tree_of_mids_puts_one_class_above_another(tmp_path):
    truth, _ = read(tmp_path, *random_case(0, has_hierarchy=True))
    for category in truth.categories:
        category["supercategory"] = ""
    tree = {"LabelName": "/m/0bl9f", "Subcategory": [
        {"LabelName": "/m/01g317", "Subcategory": [{"LabelName": "/m/04yx4"}]}
    ]}  # fmt: skip
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    mids = {"Person": "/m/01g317", "Man": "/m/04yx4"}
    above = read_above(truth, mids, tmp_path / "tree.json")
    assert np.argwhere(above).tolist() == [[4, 0]]
