import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from oiv5_d2.conversion import masks
from oiv5_d2.reporting import comparison
from oiv5_d2.reporting.comparison import (
    MAX_BYTES,
    Scored,
    choose_examples,
    compare,
    found_shapes,
    score_images,
    write_comparison,
)
from oiv5_d2.reporting.truth import AnnotatedImage, open_part, read_images

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


SAME = dict.fromkeys((1, 2, 3), 0.5)  # least score by category


def block(x, category_id=1, iscrowd=0, width=20):
    mask = np.zeros((40, 100), dtype=bool)
    mask[10:30, x : x + width] = True
    return {
        "image_id": 1,
        "category_id": category_id,
        "bbox": [float(x), 10.0, float(width), 20.0],
        "segmentation": masks.encode(mask),
        "iscrowd": iscrowd,
    }


def guess(x, category_id=1, score=0.9):
    return block(x, category_id) | {"score": score}


def quality(annotations, found):
    return comparison.quality(AnnotatedImage({"id": 1}, annotations), found)


def test_the_truth_itself_is_perfect():
    assert quality([block(0), block(50)], [guess(50), guess(0)]) == 1


def test_missed_objects_and_false_detections_cost_the_same():
    missed = quality([block(0), block(50)], [guess(0)])
    false = quality([block(0)], [guess(0), guess(50)])
    assert missed == false == pytest.approx(1 / 1.5)


def test_a_loose_fit_costs_what_it_misses():
    assert quality([block(0)], [guess(4)]) == pytest.approx(16 / 24)


def test_a_fit_of_less_than_half_is_both_a_missed_object_and_a_false_detection():
    assert quality([block(0)], [guess(12)]) == 0


def test_another_class_does_not_count():
    assert quality([block(0, 1)], [guess(0, 2)]) == 0


def test_the_second_detection_of_an_object_is_false():
    assert quality([block(0)], [guess(0), guess(0, score=0.8)]) == pytest.approx(1 / 1.5)


def test_a_detection_in_an_ignored_region_costs_nothing():
    annotations = [block(0), block(40, iscrowd=1, width=60)]
    assert quality(annotations, [guess(0), guess(60)]) == 1


def test_nothing_found_is_zero():
    assert quality([block(0)], []) == 0


@given(st.lists(st.integers(0, 79), max_size=4), st.lists(st.integers(0, 79), max_size=4))
def test_quality_is_a_share(true, found):
    assert 0 <= quality([block(x) for x in true], [guess(x) for x in found]) <= 1 + 1e-9


def test_images_without_an_object_are_not_scored_and_low_scores_not_used():
    images = [
        AnnotatedImage({"id": 1}, [block(0)]),
        AnnotatedImage({"id": 2}, [block(0, iscrowd=1) | {"image_id": 2}]),
    ]
    found = [guess(0), guess(50, score=0.59), guess(50, 2, score=0.31)]
    (scored,) = score_images(images, found, {1: 0.6, 2: 0.3})
    assert scored.image.record["id"] == 1 and scored.found == [found[0], found[2]]


def scored(number, num_objects=2):
    image = AnnotatedImage({"id": number}, [block(0)] * num_objects)
    return Scored(image, [], number / 100)


def numbers(examples):
    return {kind: [one.image.record["id"] for one in group] for kind, group in examples.items()}


def test_the_best_the_middle_and_the_worst_are_chosen():
    examples = choose_examples([scored(i) for i in range(11)], 1)
    assert numbers(examples) == {"best": [10], "typical": [5], "worst": [0]}


def test_single_objects_are_left_out_where_there_are_enough_others():
    many = [scored(i) for i in range(10, 40)] + [scored(99, 1), scored(1, 1)]
    assert numbers(choose_examples(many, 2))["best"] == [39, 38]


@given(st.integers(0, 12), st.integers(1, 3))
def test_no_image_is_chosen_twice(num_images, num_each):
    examples = numbers(choose_examples([scored(i) for i in range(num_images)], num_each))
    chosen = [number for group in examples.values() for number in group]
    assert len(chosen) == len(set(chosen)) <= 3 * num_each
    assert bool(chosen) == bool(num_images)


def test_detections_are_tagged_with_class_and_score():
    (shape,) = found_shapes([guess(5, 2, score=0.876)], {2: "Car"})
    assert shape.tag == "Car 0.88" and shape.box == (5, 10, 25, 30) and shape.mask.sum() == 400


def test_pairs_fit_their_sheet_and_name_the_photographer(street, tmp_path):
    part = open_part(street.prepared("test"))
    images = read_images(part.coco_path, part.traits)
    truth = [one | {"score": 0.9} for image in images for one in image.objects]
    cells = [compare(part, "best", one) for one in score_images(images, truth, SAME)]
    assert len(cells) == 5 and cells[0].caption.startswith("best: quality 1.00")
    assert cells[0].detail == "objects 2, found 2; photo: Ann Other"
    left, right = np.split(cells[0].image[:, [100, 504]], 2, axis=1)
    assert left.shape == right.shape
    write_comparison(street.prepared("test"), truth, {}, "title", tmp_path / "pairs.jpg")
    assert (tmp_path / "pairs.jpg").stat().st_size <= MAX_BYTES
    with Image.open(tmp_path / "pairs.jpg") as sheet:
        assert sheet.size[0] > 1600
