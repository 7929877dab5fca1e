import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from oiv5_d2.training.data.copy_paste import CopyPaste
from oiv5_d2.training.data.cropped_masks import CroppedMasks
from oiv5_d2.training.data.mapper import seeded

SIZE = (20, 30)


def sample_of(colour, *windows, size=SIZE):
    """An image of one colour, an object in each window (x0, y0, x1, y1); class 0, 1, …"""
    masks = torch.zeros((len(windows), *size), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, windows, strict=True):
        mask[y0:y1, x0:x1] = True
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor(windows, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.arange(len(windows))
    instances.gt_masks = CroppedMasks.of_masks(masks)
    image = torch.full((3, *size), colour, dtype=torch.uint8)
    return {"image": image, "instances": instances, "image_id": colour}


def paste(sample, other, min_visible=0.0, **settings):
    mix = CopyPaste(**{"probability": 1.0, "share": 1.0, **settings}, min_visible=min_visible)
    with seeded(0):
        return mix(sample, lambda: other)


def boxes_of(sample, name="instances"):
    return sample[name].gt_boxes.tensor.tolist()


def areas_of(sample, name="instances"):
    return sample[name].gt_masks.tensor.flatten(1).sum(1).tolist()


def test_pixels_masks_and_boxes_of_what_is_covered_are_cut():
    found = paste(sample_of(10, (2, 2, 12, 12)), sample_of(200, (8, 0, 20, 20)))
    own, pasted = found["instances"].gt_masks.tensor
    assert boxes_of(found) == [[2, 2, 8, 12], [8, 0, 20, 20]]
    assert own[2:12, 2:8].all() and own.sum() == 60
    assert pasted[:, 8:20].all() and pasted.sum() == 240
    assert (found["image"] == torch.where(pasted, 200, 10)).all()
    assert found["image_id"] == 10


def test_only_the_pasted_object_s_pixels_are_taken():
    other = sample_of(200, (5, 5, 10, 10))
    other["image"][:, 7, 7] = 99
    found = paste(sample_of(10), other)
    assert found["image"][0, 7, 7] == 99
    assert (found["image"] != 10).sum() == 3 * 25


def test_a_box_of_an_object_that_nothing_covers_stays_to_the_bit():
    sample = sample_of(10, (2, 2, 6, 6))
    sample["instances"].gt_boxes.tensor[0, 0] = 1.7  # of a mask drawn at another resolution
    found = paste(sample, sample_of(200, (20, 10, 25, 15)))
    assert boxes_of(found)[0] == pytest.approx([1.7, 2, 6, 6])


@pytest.mark.parametrize(("min_visible", "kept"), [(0.0, [0, 1]), (0.5, [0, 1]), (0.51, [1])])
def test_an_object_with_too_little_left_is_dropped(min_visible, kept):
    sample = sample_of(10, (0, 0, 10, 10), (20, 0, 25, 5))
    found = paste(sample, sample_of(200, (5, 0, 15, 10)), min_visible)
    assert found["instances"].gt_classes.tolist() == [*kept, 0]


def test_an_object_that_is_covered_whole_is_dropped():
    found = paste(sample_of(10, (6, 6, 8, 8)), sample_of(200, (5, 5, 10, 10)))
    assert boxes_of(found) == [[5, 5, 10, 10]]


def test_other_fields_come_along():
    sample, other = sample_of(10, (0, 0, 5, 5)), sample_of(200, (10, 10, 20, 20))
    sample["instances"].gt_verified = torch.tensor([True])
    other["instances"].gt_verified = torch.tensor([False])
    assert paste(sample, other)["instances"].gt_verified.tolist() == [True, False]


def test_ignored_regions_are_cut_however_little_is_left_and_never_pasted():
    sample, other = sample_of(10, (0, 0, 5, 5)), sample_of(200, (10, 0, 19, 20))
    sample["ignored"] = sample_of(10, (10, 0, 20, 20), (12, 2, 14, 4))["instances"]
    other["ignored"] = sample_of(200, (0, 10, 5, 20))["instances"]
    found = paste(sample, other, min_visible=0.5)
    assert boxes_of(found, "ignored") == [[19, 0, 20, 20]]
    assert areas_of(found, "ignored") == [20]
    assert len(found["instances"]) == 2
    assert (found["image"][:, 10:, :5] == 10).all()


def test_another_size_is_placed_inside_or_cut_off_at_the_border():
    other = sample_of(200, (0, 0, 8, 6), size=(6, 8))
    found = paste(sample_of(10), other)
    ((x0, y0, x1, y1),) = boxes_of(found)
    assert (x1 - x0, y1 - y0) == (8, 6) and 0 <= x0 <= 22 and 0 <= y0 <= 14
    assert (found["image"][:, int(y0) : int(y1), int(x0) : int(x1)] == 200).all()
    found = paste(sample_of(10, size=(6, 8)), sample_of(200, (0, 0, 30, 20)))
    assert boxes_of(found) == [[0, 0, 8, 6]] and areas_of(found) == [48]


def test_an_object_of_which_the_border_leaves_too_little_is_not_pasted():
    other = sample_of(200, (0, 0, 30, 20))
    found = paste(sample_of(10, size=(6, 8)), other, min_visible=0.5)
    assert len(found["instances"]) == 0 and (found["image"] == 10).all()


@pytest.mark.parametrize("settings", [{"probability": 0.0}, {"share": 0.0}])
def test_a_sample_may_stay_as_it_is(settings):
    sample = sample_of(10, (2, 2, 12, 12))
    assert paste(sample, sample_of(200, (8, 0, 20, 20)), **settings) is sample


def test_probability_and_share_are_those_that_are_drawn():
    other = sample_of(200, *[(x, 0, x + 1, 20) for x in range(30)])
    mix = CopyPaste(probability=0.5, share=0.3, min_visible=0.0)
    with seeded(0):
        counts = [len(mix(sample_of(10), lambda: other)["instances"]) for _ in range(400)]
    assert np.mean(np.array(counts) > 0) == pytest.approx(0.5, abs=0.08)
    assert np.mean([count for count in counts if count]) == pytest.approx(9, abs=0.6)


def test_an_image_without_objects_gets_and_gives():
    empty = sample_of(10)
    empty["instances"] = Instances(SIZE)  # as Detectron2 makes it of no annotations
    empty["instances"].gt_boxes = Boxes(torch.zeros(0, 4))
    empty["instances"].gt_classes = torch.zeros(0, dtype=torch.int64)
    other = sample_of(200, (8, 0, 20, 20))
    assert paste(other, empty) is other
    assert boxes_of(paste(empty, other)) == [[8, 0, 20, 20]]
