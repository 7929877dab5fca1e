import copy

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from fvcore.transforms.transform import CropTransform, PadTransform, VFlipTransform
from pycocotools import mask as run_lengths

from oiv5_d2.training.data.augmentations import Crop, Square, Window
from oiv5_d2.training.data.image_mapper import ImageMapper
from oiv5_d2.training.data.lookups import find_lookup
from oiv5_d2.training.data.mapper import seeded

SIZE = (61, 83)
STEPS = {
    "as it is": [],
    "flip": [T.RandomFlip(1.0)],
    "both flips": [T.RandomFlip(1.0), T.RandomFlip(1.0, horizontal=False, vertical=True)],
    "smaller": [T.ResizeShortestEdge([17, 40], 70, "choice")],
    "larger": [T.ResizeShortestEdge([100, 97], 150, "choice"), T.RandomFlip(0.5)],
    "crop": [Crop("relative_range", [0.2, 0.2]), T.ResizeShortestEdge(53, 99)],
    "jitter": [T.ResizeScale(0.2, 2.0, 64, 64), Window(64, 114), T.RandomFlip(0.5)],
    "jitter, resized": [T.ResizeScale(0.2, 2.0, 64, 64), Window(64, 114), T.Resize((90, 41))],
    "square": [Square(50, 96, 0), T.RandomFlip(0.5)],
    "colour": [T.RandomBrightness(0.8, 1.2), T.RandomContrast(0.8, 1.2), T.RandomFlip(0.5)],
    "rotation": [T.RandomRotation([-30, 30]), T.RandomFlip(0.5)],  # no table for it
}


def annotate(rng):
    """An object: a polygon, a mask with holes, one that touches a border, or a whole column."""
    kind = rng.integers(5)
    mask = np.zeros(SIZE, np.uint8)
    (y0, y1), (x0, x1) = (np.sort(rng.choice(side + 1, 2, replace=False)) for side in SIZE)
    mask[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < (0.6 if kind == 1 else 1.0)
    if kind == 2:
        mask[:, x0:x1] = 1
    if kind == 3:
        rows, columns = np.indices(SIZE)
        mask = (rows - y0) ** 2 + (columns - x0) ** 2 < 200
    rle = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = rle["counts"] if kind == 4 else rle["counts"].decode()
    box = run_lengths.toBbox(rle) + rng.uniform(0, 0.5, 4) * (rng.random() < 0.5)
    return {
        "bbox": box.tolist(),
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": int(rng.integers(4)),
        "iscrowd": int(rng.random() < 0.1),
        "segmentation": {"size": list(SIZE), "counts": counts},
    }


def both(annotations, steps, seed, cuts_objects=True):
    """Return Detectron2's instances and ours."""
    mapper = ImageMapper(
        is_train=True,
        augmentations=steps,
        image_format="BGR",
        use_instance_mask=True,
        instance_mask_format="bitmask",
        recompute_boxes=cuts_objects,
    )
    with seeded(seed):
        seen = T.AugInput(np.zeros((*SIZE, 3), np.uint8))
        transforms = mapper.augmentations(seen)
    stock = {"annotations": copy.deepcopy(annotations)}
    size = seen.image.shape[:2]
    mapper._transform_annotations(stock, transforms, size)
    ours = mapper.find_targets({"annotations": annotations}, transforms, SIZE, size)
    return stock["instances"], ours["instances"], transforms


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", range(12))
def test_targets_are_detectron2_s_to_the_bit(name, seed):
    rng = np.random.default_rng(seed)
    annotations = [annotate(rng) for _ in range(6)] + [{**annotate(rng), "iscrowd": 0}]
    before = copy.deepcopy(annotations)
    stock, ours, transforms = both(annotations, STEPS[name], seed, seed % 2 == 0)
    assert (find_lookup(transforms, SIZE) is None) == (name == "rotation")
    assert torch.equal(ours.gt_boxes.tensor, stock.gt_boxes.tensor)
    assert torch.equal(ours.gt_classes, stock.gt_classes)
    assert torch.equal(ours.gt_masks.tensor, stock.gt_masks.tensor)
    boxes = stock.gt_boxes.tensor
    targets = stock.gt_masks.crop_and_resize(boxes, 28)
    assert torch.equal(ours.gt_masks.crop_and_resize(boxes, 28), targets)
    assert annotations == before


def test_polygons_are_drawn_as_detectron2_draws_them():
    rng = np.random.default_rng(0)
    annotations = [annotate(rng) for _ in range(4)]
    for one in annotations[:2]:
        one["segmentation"] = [(rng.random(16) * 60).tolist(), (rng.random(8) * 60).tolist()]
        one["iscrowd"] = 0
    stock, ours, _ = both(annotations, STEPS["larger"], 0)
    assert torch.equal(ours.gt_masks.tensor, stock.gt_masks.tensor)


@pytest.mark.parametrize(
    ("transform", "rows", "columns"),
    [
        (CropTransform(1, 2, 3, 2), [2, 3], [1, 2, 3]),
        (PadTransform(1, 0, 0, 2), [0, 1, 2, 3, -1, -1], [-1, 0, 1, 2, 3, 4]),
        (VFlipTransform(4), [3, 2, 1, 0], [0, 1, 2, 3, 4]),
        (T.ResizeTransform(4, 5, 2, 10), [1, 3], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
    ],
)
def test_a_table_says_which_pixels_are_shown(transform, rows, columns):
    lookup = find_lookup(T.TransformList([transform]), (4, 5))
    assert lookup.rows.tolist() == rows and lookup.columns.tolist() == columns


def test_padding_that_is_an_object_has_no_table():
    pad = PadTransform(1, 0, 0, 2, seg_pad_value=1)
    assert find_lookup(T.TransformList([pad]), (4, 5)) is None
