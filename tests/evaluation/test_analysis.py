import numpy as np
import pytest
from judging import SIZE, annotate, block, detect, read

from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.coco import evaluate
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
    classes = analyse(*read(tmp_path, content(10), found), "segm", {})["classes"]
    person = classes["Person"]
    assert 0.8 < person["threshold"] < 0.9
    assert person["best_f1"] == pytest.approx(2 * 0.8 / 1.8)  # 4 of 5, none of them false
    at = dict(zip(person["curves"]["score"], person["curves"]["precision"], strict=True))
    assert at[0.5] == 1 and at[0.0] == pytest.approx(4 / 9, abs=1e-4) and at[1.0] is None


def test_scores_that_are_true_as_often_as_they_say_are_calibrated(tmp_path):
    found = [found_on(i, box=BOX if i <= 8 else (40, 30, 9, 9), category=1) for i in range(1, 11)]
    found = [one | {"score": 0.8} for one in found]
    truth = content(10)
    truth["annotations"] = [one | {"category_id": 1} for one in truth["annotations"]]
    person = analyse(*read(tmp_path, truth, found), "segm", {})["classes"]["Person"]
    assert person["ece"] == pytest.approx(0)
    assert person["bins"][8] == [10, pytest.approx(0.8), pytest.approx(0.8)]


def test_a_slice_has_its_objects_only(tmp_path):
    truth = content(10)
    for one in truth["annotations"]:
        one |= {"is_occluded": int(one["id"] <= 4), "is_truncated": -1, "label": "/m/x"}
    found = [found_on(i) for i in range(5, 11)]
    slices = analyse(*read(tmp_path, truth, found), "segm", {"/m/x": "Woman"})["slices"]
    assert slices["occluded"] == {"objects": 4, "AP": 0, "AP50": 0}
    assert slices["not occluded"]["AP50"] == pytest.approx(100)
    assert slices["label Woman"]["objects"] == slices["images with 1 object"]["objects"] == 10
    assert "truncated" not in slices


def test_nothing_found_and_nothing_there_are_analysed(tmp_path):
    analysis = analyse(*read(tmp_path / "a", content(4), []), "segm", {})
    assert analysis["errors"]["missed"]["count"] == 4
    empty = content(4) | {"annotations": []}
    analysis = analyse(*read(tmp_path / "b", empty, [found_on(1)]), "segm", {})
    assert analysis["errors"]["background"]["count"] == 1 and analysis["classes"] == {}
    assert np.isnan(analysis["errors"]["background"]["AP50"])
