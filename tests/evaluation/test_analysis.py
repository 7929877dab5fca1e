from dataclasses import replace

import numpy as np
import pytest
from judging import SIZE, annotate, block, detect, read

from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.coco import evaluate
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.errors import describe_errors, find_errors
from oiv5_d2.evaluation.matching import find_candidates

NUMBER = 100  # of planted errors of each kind
CLASSES = [{"id": i, "name": name} for i, name in enumerate(("Person", "Car"), 1)]
BOX = 4, 4, 20, 20


def content(num_images):
    """A person of the same place on each image."""
    image = {"height": SIZE[0], "width": SIZE[1], "file_name": ""}
    return {
        "images": [image | {"id": i, "file_name": f"{i}.jpg"} for i in range(1, num_images + 1)],
        "categories": CLASSES,
        "annotations": [
            annotate(i, 1 + i % 2, block(*BOX), [float(v) for v in BOX]) | {"id": i}
            for i in range(1, num_images + 1)
        ],
    }


def found_on(image, box=BOX, category=None, score=None):
    """A detection; on later images with a score below that of planted errors."""
    category = 1 + image % 2 if category is None else category
    score = (0.9 if image <= 300 else 0.7) if score is None else score
    return detect(image, category, block(*box), box, score - image / 1e5)


def planted():
    """Perfect detections of 600 images, and a hundred errors of each kind on their own images."""
    found = [found_on(i) for i in range(1, 601)]
    for i in range(NUMBER):
        one, two, three, four, five, six = (n * NUMBER + i + 1 for n in range(6))
        found[one - 1] = found_on(one, category=2 - one % 2)  # another class
        found[two - 1] = found_on(two, box=(14, 4, 20, 20))  # IoU a third
        found.append(found_on(three, score=0.8))  # a second time
        found.append(found_on(four, box=(40, 30, 10, 10), score=0.8))  # nothing there
        found.append(found_on(five, box=(14, 4, 20, 20), category=2 - five % 2, score=0.8))
        found[six - 1] = None
    return content(600), [one for one in found if one]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return read(tmp_path_factory.mktemp("planted"), *planted())


@pytest.mark.parametrize("task", ["segm", "bbox"])
def test_planted_errors_are_counted_exactly(case, task):
    candidates = find_candidates(*case, task)
    errors = describe_errors(candidates, find_errors(candidates, task))
    assert {kind: one["count"] for kind, one in errors.items()} == dict.fromkeys(errors, NUMBER)
    assert set(errors) == {"class", "place", "both", "duplicate", "background", "missed"}


def fix(kind, content, found):
    """Fix one kind by hand: the hundred detections or objects that `planted` spoilt."""
    first = {"class": 0, "place": 1, "duplicate": 2, "background": 3, "both": 4, "missed": 5}[kind]
    own = range(first * NUMBER + 1, (first + 1) * NUMBER + 1)
    if kind == "missed":
        objects = [one for one in content["annotations"] if one["image_id"] not in own]
        return content | {"annotations": objects}, found
    others = [one for one in found if one["image_id"] not in own]
    return content, [*others, *(found_on(i) for i in own)]


@pytest.mark.parametrize("kind", ["class", "place", "both", "duplicate", "background", "missed"])
def test_fixing_a_kind_gives_the_precision_that_was_promised(case, kind, tmp_path):
    candidates = find_candidates(*case, "segm")
    promised = describe_errors(candidates, find_errors(candidates, "segm"))[kind]["AP50"]
    fixed = read(tmp_path, *fix(kind, *planted()))
    gain = evaluate(*fixed, "segm")["AP50"] - evaluate(*case, "segm")["AP50"]
    assert promised > 0 and promised == pytest.approx(gain, abs=1e-9)


def test_the_threshold_is_where_f1_is_best(tmp_path):
    found = [found_on(i, score=0.9) for i in range(1, 9)]
    found += [found_on(i, box=(40, 30, 10, 10), score=0.4) for i in range(1, 11)]
    classes = analyse(diagnose(*read(tmp_path, content(10), found), "segm"), {})["classes"]
    person = classes["Person"]
    assert 0.8 < person["threshold"] < 0.9
    assert person["best_f1"] == pytest.approx(2 * 0.8 / 1.8)  # 4 of 5, none of them false
    at = dict(zip(person["curves"]["score"], person["curves"]["precision"], strict=True))
    assert (person["precision"], person["recall"]) == (1, pytest.approx(0.8))
    assert set(person["precision_at_recall"][:81]) == {1} and person["precision_at_recall"][-1] == 0
    assert at[0.5] == 1 and at[0.0] == pytest.approx(4 / 9, abs=1e-4) and at[1.0] is None


def test_scores_that_are_true_as_often_as_they_say_are_calibrated(tmp_path):
    found = [found_on(i, box=BOX if i <= 8 else (40, 30, 9, 9), category=1) for i in range(1, 11)]
    found = [one | {"score": 0.8} for one in found]
    truth = content(10)
    truth["annotations"] = [one | {"category_id": 1} for one in truth["annotations"]]
    person = analyse(diagnose(*read(tmp_path, truth, found), "segm"), {})["classes"]["Person"]
    assert person["ece"] == pytest.approx(0)
    assert person["bins"][8] == [10, pytest.approx(0.8), pytest.approx(0.8)]


def test_a_slice_has_its_objects_only(tmp_path):
    truth = content(10)
    for one in truth["annotations"]:
        one |= {"is_occluded": int(one["id"] <= 4), "is_truncated": -1, "label": "/m/x"}
    found = [found_on(i) for i in range(5, 11)]
    slices = analyse(diagnose(*read(tmp_path, truth, found), "segm"), {"/m/x": "Woman"})["slices"]
    assert slices["occluded"] == {"objects": 4, "AP": 0, "AP50": 0, "recall": 0}
    assert slices["not occluded"]["AP50"] == pytest.approx(100)
    assert slices["label Woman"]["objects"] == slices["images with 1 object"]["objects"] == 10
    assert "truncated" not in slices


def test_the_confusion_counts_each_object_and_each_false_detection_once(case):
    confusion = analyse(diagnose(*case, "segm"), {})["confusion"]
    assert confusion["classes"] == ["Person", "Car"]
    counts = np.array(confusion["counts"])
    # Of 600 objects: 100 taken for the other class, 100 misplaced, 100 missed. The detections of
    # nothing are the misplaced ones, the duplicates, those of the background and those of both.
    assert counts[:2, :2].tolist() == [[150, 50], [50, 150]]
    assert counts[:2, 2].tolist() == [50 + 50, 50 + 50]
    assert counts[2, :2].sum() == 4 * NUMBER and counts[2, 2] == 0
    assert counts[:2].sum() == 600


def test_the_confusion_takes_no_detection_below_the_threshold(tmp_path):
    found = [found_on(i, score=0.9) for i in range(1, 9)]
    found += [found_on(i, box=(40, 30, 10, 10), score=0.4) for i in range(1, 11)]
    confusion = analyse(diagnose(*read(tmp_path, content(10), found), "segm"), {})["confusion"]
    assert confusion["counts"] == [[4, 0, 1], [0, 4, 1], [0, 0, 0]]


def test_an_object_goes_to_its_own_class_first_and_then_to_the_best_score(tmp_path):
    one_person = content(1) | {"categories": [*CLASSES, {"id": 3, "name": "Sign"}]}
    one_person["annotations"][0]["category_id"] = 1
    cases = {
        "own": ([(1, 0.6), (2, 0.9)], [1, 0, 0, 0]),
        "other": ([(3, 0.8), (2, 0.9)], [0, 1, 0, 0]),
    }
    for name, (guesses, row) in cases.items():
        found = [found_on(1, category=category, score=score) for category, score in guesses]
        truth, read_back = read(tmp_path / name, one_person, found)
        counts = analyse(diagnose(truth, read_back, "segm"), {})["confusion"]["counts"]
        assert counts[0] == row and sum(counts[-1]) == 1


def test_slices_by_neighbours_and_by_the_border(tmp_path):
    boxes = [(0, 4, 10, 10), (8, 4, 10, 10), (30, 20, 8, 8), (50, 2, 8, 8), (2, 30, 10, 10)]
    truth = content(1)
    truth["annotations"] = [
        annotate(1, 1, block(*box), [float(v) for v in box]) | {"id": i}
        for i, box in enumerate(boxes, 1)
    ]
    truth["annotations"].append(
        annotate(1, 2, block(*boxes[2]), [float(v) for v in boxes[2]], "no mask") | {"id": 6}
    )
    found = [found_on(1, box=box, category=1) for box in boxes[:3]]
    slices = analyse(diagnose(*read(tmp_path, truth, found), "segm"), {})["slices"]
    numbers = {name: (one["objects"], one["recall"]) for name, one in slices.items()}
    assert numbers["touches no other boxes"] == (2, 0)
    assert numbers["touches 1 or 2 other boxes"] == (3, 100)
    assert numbers["IoU with another box below 0.1"][0] == 2
    assert numbers["IoU with another box 0.1 to 0.3"][0] == 2  # 20 of 180 square pixels
    assert numbers["IoU with another box above 0.3"][0] == 1
    assert numbers["at the border"] == (1, 100)
    assert numbers["up to 10 % from the border"][0] == 3
    assert numbers["over 10 % from the border"] == (1, 100)


def test_sizes_are_those_of_the_image_as_the_model_gets_it(tmp_path):
    truth, found = read(tmp_path, content(4), [])
    for frame, name in (((48, 64), "below 32"), ((192, 999), "32 to 96"), ((0, 0), "below 32")):
        slices = analyse(diagnose(replace(truth, frame=frame), found, "segm"), {})["slices"]
        assert {one for one in slices if "frame" in one} == {f"{name} px in the model's frame"}


def test_nothing_found_and_nothing_there_are_analysed(tmp_path):
    analysis = analyse(diagnose(*read(tmp_path / "a", content(4), []), "segm"), {})
    assert analysis["errors"]["missed"]["count"] == 4
    empty = content(4) | {"annotations": []}
    analysis = analyse(diagnose(*read(tmp_path / "b", empty, [found_on(1)]), "segm"), {})
    assert analysis["errors"]["background"]["count"] == 1 and analysis["classes"] == {}
    assert np.isnan(analysis["errors"]["background"]["AP50"])
