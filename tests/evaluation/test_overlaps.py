import numpy as np
import pytest
from pycocotools import mask as run_lengths

from oiv5_d2.evaluation.masks import MaskList
from oiv5_d2.evaluation.overlaps import mask_ious, may_be_half


@pytest.fixture
def masks():
    """Sixty masks of rectangles, all on images of one of two sizes."""
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
