import pytest

from oiv5_d2.evaluation.label_errors import Reason, Suspect
from oiv5_d2.evaluation.truth import build_truth
from oiv5_d2.reporting.page.choice import choose_images, take_suspects
from oiv5_d2.reporting.truth import AnnotatedImage

SIDE = 10.0


def image(id_, num_objects=2):
    """An image with as many boxes in a row."""
    boxes = [[20.0 * i, 0.0, SIDE, SIDE] for i in range(num_objects)]
    objects = [{"iscrowd": 0, "category_id": 1, "bbox": box} for box in boxes]
    return AnnotatedImage({"id": id_, "open_images_id": f"{id_:016x}"}, objects)


def found(id_, shift):
    """A detection of the first object of an image, so many pixels off."""
    return {"image_id": id_, "category_id": 1, "bbox": [shift, 0.0, SIDE, SIDE], "score": 0.9}


def suspect(place):
    return Suspect(place, 0, Reason.NOTHING, 0.9, 0.9, (0.0, 0.0, SIDE, SIDE), None)


@pytest.fixture
def images():
    """Nine images with objects, found the worse the higher their id, and one without any."""
    return [*(image(id_) for id_ in range(1, 10)), image(10, 0)]


@pytest.fixture
def predictions():
    return [found(id_, (id_ - 1) / 2) for id_ in range(1, 10)]


def test_one_of_each_kind_comes_in_turn(images, predictions):
    chosen = choose_images(images, predictions, {1: 0.5}, {}, 6)
    assert [one.kinds for one in chosen] == 2 * [["best"], ["typical"], ["worst"]]
    assert [one.image.record["id"] for one in chosen][::3] == [1, 2]
    assert chosen[0].quality > chosen[1].quality > chosen[2].quality


def test_label_errors_take_their_share_and_an_image_is_there_once(images, predictions):
    doubted = {1: [suspect(0)], 10: [suspect(9)]}
    chosen = choose_images(images, predictions, {1: 0.5}, doubted, 8)
    kinds = {one.image.record["id"]: one.kinds for one in chosen}
    assert len(kinds) == len(chosen) == 7
    assert kinds[1] == ["label error", "best"] and kinds[10] == ["label error"]
    assert [one.suspects for one in chosen if one.suspects] == [[suspect(0)], [suspect(9)]]


def test_an_image_without_an_object_on_which_something_is_found_has_no_quality(images, predictions):
    chosen = choose_images(images, predictions, {1: 0.5}, {10: [suspect(9)]}, 4)
    assert chosen[0].image.record["id"] == 10 and chosen[0].quality == 0


def test_the_likeliest_suspects_are_taken_until_there_are_enough_images():
    records = [{"id": id_, "height": 9, "width": 9} for id_ in (7, 8, 9)]
    truth = build_truth({"images": records, "categories": [], "annotations": []}, "x", "")
    suspects = [suspect(place) for place in (2, 0, 2, 1, 2)]
    taken = take_suspects(suspects, truth, 2)
    assert {id_: len(some) for id_, some in taken.items()} == {9: 2, 7: 1}
    assert take_suspects(suspects, truth, 0) == {}
