import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks

from oiv5_d2.training.data.cropped_masks import CroppedMasks, Window

SIZE = (47, 61)


def blobs(rng, count, size=SIZE):
    """Masks of noisy rectangles, some at the image's border, some of nothing."""
    masks = torch.zeros((count, *size), dtype=torch.bool)
    for mask in masks:
        (y0, y1), (x0, x1) = (np.sort(rng.integers(0, side + 1, 2)) for side in size)
        shape = mask[y0:y1, x0:x1].shape
        mask[y0:y1, x0:x1] = torch.from_numpy(rng.random(shape) < rng.choice([0.5, 1.0]))
    return masks


def proposals(rng, masks):
    """Boxes anywhere, some beyond the image, and the tight ones: what the mask head is asked."""
    corners = np.sort(rng.uniform(-9, max(SIZE) + 9, (len(masks), 2, 2)), axis=1)
    boxes = torch.from_numpy(corners.reshape(-1, 4)).float()
    tight = BitMasks(masks).get_bounding_boxes().tensor
    is_tight = torch.from_numpy(rng.random((len(masks), 1)) < 0.5)
    return torch.where(is_tight, tight, boxes)


@pytest.mark.parametrize("seed", range(60))
def test_all_that_mask_r_cnn_asks_is_answered_as_by_bitmasks_to_the_bit(seed):
    rng = np.random.default_rng(seed)
    masks = blobs(rng, 8)
    chosen = torch.from_numpy(rng.integers(0, 8, 12))  # an object has several proposals
    ours, stock = CroppedMasks.of_masks(masks)[chosen], BitMasks(masks)[chosen]
    assert len(ours) == len(stock) and torch.equal(ours.tensor, stock.tensor)
    assert torch.equal(ours.nonempty(), stock.nonempty())
    assert torch.equal(ours.get_bounding_boxes().tensor, stock.get_bounding_boxes().tensor)
    assert torch.equal(ours.area(), stock.tensor.flatten(1).sum(1))
    boxes = proposals(rng, stock.tensor)
    for side in (14, 28):
        targets = ours.crop_and_resize(boxes, side)
        assert targets.dtype == torch.bool
        assert torch.equal(targets, stock.crop_and_resize(boxes, side))


@pytest.mark.parametrize(
    "item", [2, -1, slice(1, 4), torch.tensor([3, 3, 0]), torch.tensor([True, False] * 3), []]
)
def test_masks_are_chosen_as_bitmasks_are(item):
    masks = blobs(np.random.default_rng(0), 6)
    chosen = masks[item][None] if isinstance(item, int) else masks[item]
    assert torch.equal(CroppedMasks.of_masks(masks)[item].tensor, chosen)


def test_masks_of_several_are_put_together():
    rng = np.random.default_rng(0)
    first, second = blobs(rng, 3), blobs(rng, 2)
    several = [CroppedMasks.of_masks(first)[[2, 0]], CroppedMasks.of_masks(second)]
    assert torch.equal(CroppedMasks.cat(several).tensor, torch.cat([first[[2, 0]], second]))


def test_only_the_objects_boxes_are_kept():
    masks = torch.zeros((2, 40, 60), dtype=torch.bool)
    masks[0, 3:7, 10:15] = True
    ours = CroppedMasks.of_masks(masks)
    assert ours.windows == (Window(10, 3, 15, 7), Window(0, 0, 0, 0))
    assert ours.pixels.shape == (20,) and not ours[1].nonempty().any()


def test_no_masks_are_masks_too():
    ours = CroppedMasks.of_crops(SIZE, [], [])
    assert len(ours) == 0 and ours.tensor.shape == (0, *SIZE)
    assert ours.get_bounding_boxes().tensor.shape == (0, 4)
    assert ours.crop_and_resize(torch.zeros(0, 4), 28).shape == (0, 28, 28)
    assert ours.area().shape == ours.nonempty().shape == (0,)


@pytest.mark.parametrize("seed", range(20))
def test_masks_are_moved_and_covered_as_whole_ones_would_be(seed):
    rng = np.random.default_rng(seed)
    masks, (x, y) = blobs(rng, 5), rng.integers(-50, 50, 2).tolist()
    height, width = size = tuple(rng.integers(20, 90, 2).tolist())
    padded = torch.zeros((5, 300, 300), dtype=torch.bool)
    padded[:, 100 + y : 100 + y + SIZE[0], 100 + x : 100 + x + SIZE[1]] = masks
    expected = padded[:, 100 : 100 + height, 100 : 100 + width]
    moved = CroppedMasks.of_masks(masks).shifted(size, x, y)
    assert torch.equal(moved.tensor, expected)
    covered = torch.from_numpy(rng.random(size) < 0.5)
    assert torch.equal(moved.without(covered).tensor, expected & ~covered)
    assert torch.equal(moved[[1, 3]].union(), expected[[1, 3]].any(dim=0))
