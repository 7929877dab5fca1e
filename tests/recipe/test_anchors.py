import numpy as np
import pytest
import torch

from oiv5_d2.recipe.anchors import Anchors, best_overlaps, measure, propose
from oiv5_d2.training import compat  # noqa: F401

from detectron2.config import get_cfg  # isort: skip
from detectron2.layers import ShapeSpec  # isort: skip
from detectron2.modeling.anchor_generator import build_anchor_generator  # isort: skip
from detectron2.structures import Boxes, pairwise_iou  # isort: skip

OWN = Anchors((32.0, 64.0, 128.0), (0.5, 1.0, 2.0), (4, 8, 16))


def random_boxes(num, shape, seed=0):
    """Return boxes (num, 4), xywh_abs, of about that width and height, in 400 x 400 pixels."""
    rng = np.random.default_rng(seed)
    sides = np.array(shape) * rng.uniform(0.9, 1.1, (num, 2))
    return np.concatenate([rng.uniform(0, 400 - sides.max(), (num, 2)), sides], axis=1)


def test_overlaps_are_those_of_detectron2_s_own_anchors():
    cfg = get_cfg()
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[size] for size in OWN.sizes]
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(OWN.ratios)]
    generator = build_anchor_generator(cfg, [ShapeSpec(stride=stride) for stride in OWN.strides])
    maps = [torch.zeros(1, 1, 512 // stride, 512 // stride) for stride in OWN.strides]
    anchors = Boxes.cat(generator(maps))
    rng = np.random.default_rng(0)
    sides = rng.uniform(10, 150, (50, 2))
    boxes = np.concatenate([rng.uniform(0, 300, (50, 2)), sides], axis=1)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + sides], axis=1)
    expected = pairwise_iou(Boxes(torch.tensor(corners).float()), anchors).max(dim=1).values
    np.testing.assert_allclose(best_overlaps(boxes, OWN), expected.numpy(), atol=1e-5)


def test_the_proposed_anchors_have_the_shape_of_the_objects():
    boxes = random_boxes(300, (15, 45))  # three times as high as wide, 26 px
    found = propose(boxes, np.zeros(300, int), OWN)
    assert min(abs(ratio - 3) for ratio in found.ratios) < 0.5
    assert min(abs(size - 26) for size in found.sizes) < 4
    assert best_overlaps(boxes, found).mean() > best_overlaps(boxes, OWN).mean() + 0.1
    assert found.strides == OWN.strides and len(found.sizes) == len(found.ratios) == 3


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    few, many = random_boxes(10, (16, 16)), random_boxes(990, (120, 120))
    class_of = np.repeat([0, 1], [10, 990])
    found = propose(np.concatenate([few, many]), class_of, OWN)
    assert best_overlaps(few, found).mean() > 0.6


def test_the_same_boxes_give_the_same_anchors():
    boxes = random_boxes(200, (30, 60))
    first, second = (propose(boxes, np.zeros(200, int), OWN) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("num", [1, 2, 5])
def test_a_few_boxes_are_enough(num):
    found = propose(random_boxes(num, (40, 40)), np.zeros(num, int), OWN)
    assert len(found.sizes) == 3 and list(found.sizes) == sorted(found.sizes)


def test_the_fit_is_told_by_class():
    boxes = np.array([[0.0, 0, 32, 32], [0, 0, 4, 4]])
    boxes[:, :2] -= boxes[:, 2:] / 2  # centred on an anchor
    fits = measure(boxes, np.array([0, 2]), OWN, ("Car", "Bus", "Sign"))
    assert fits.keys() == {"Car", "Sign"}
    assert fits["Car"] == (1, 1.0, pytest.approx(1.0))
    assert fits["Sign"] == (1, 0.0, pytest.approx(16 / 32**2))
