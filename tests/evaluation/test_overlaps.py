import pickle

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from oiv5_d2.evaluation.masks import MaskList, join
from oiv5_d2.evaluation.overlaps import mask_ious, may_be_half


@pytest.fixture(params=["in memory", "in a file"])
def masks(request, monkeypatch):
    """Sixty masks of rectangles, all on images of one of two sizes."""
    if request.param == "in a file":
        monkeypatch.setattr("oiv5_d2.evaluation.masks.IN_MEMORY", 100)
    rng, masks = np.random.default_rng(0), MaskList()
    for number in range(60):
        size = ((30, 40), (20, 50))[number % 2]
        mask = np.zeros(size, dtype=np.uint8, order="F")
        top, left, height, width = rng.integers(1, 15, 4)
        mask[top : top + height, left : left + width] = 1
        masks.append(size, run_lengths.encode(mask)["counts"])
    return masks.finish()


def test_many_masks_at_once_are_the_masks_one_by_one(masks):
    positions = np.array([5, 4, 59, 4, 0])
    assert masks.outlines(positions) == [masks[i] for i in positions]
    assert masks.outlines(positions[:0]) == []


def test_masks_that_were_sent_and_joined_are_the_same(masks):
    some, others = np.array([7, 3, 50]), np.array([59, 0])
    parts = [pickle.loads(pickle.dumps(masks.take(chosen))) for chosen in (some, others)]
    assert len(parts[0].counts) < len(masks.counts) / 10
    joined = join(parts)
    assert joined.outlines(np.arange(5)) == masks.outlines(np.concatenate([some, others]))
    np.testing.assert_array_equal(joined.boxes, masks.boxes[[7, 3, 50, 59, 0]])


def test_pairs_in_any_order_have_the_overlap_of_both_masks_alone(masks):
    rng = np.random.default_rng(1)
    pairs = 2 * rng.integers(30, size=500), 2 * rng.integers(30, size=500)
    crowd = np.arange(len(masks)) % 4 == 0
    expected = [
        run_lengths.iou([masks[a]], [masks[b]], [bool(crowd[b])])[0, 0]
        for a, b in zip(*pairs, strict=True)
    ]
    np.testing.assert_array_equal(mask_ious(masks, masks, pairs, crowd), expected)


@pytest.mark.parametrize("is_crowd", [False, True])
def test_pairs_that_overlap_by_half_are_never_left_out_by_their_areas(masks, is_crowd):
    even = np.arange(0, len(masks), 2)
    pairs = np.repeat(even, len(even)), np.tile(even, len(even))
    crowd = np.full(len(masks), is_crowd)
    overlaps = mask_ious(masks, masks, pairs, crowd)
    areas = masks.areas.astype(float)
    may = may_be_half(areas[pairs[0]], areas[pairs[1]], crowd[pairs[1]])
    assert may[overlaps >= 0.5].all()
    assert 0.1 < may.mean() < 0.9
