import numpy as np
import pytest

from oiv5_d2.conversion import masks
from oiv5_d2.training.writers.overlays import SIDE, Layer, overlay

pytestmark = pytest.mark.filterwarnings("default")  # W&B's own


def test_boxes_and_masks_lie_where_their_objects_are():
    # 40 high and 80 wide, so that a pixel is eight of the square's.
    pixels = np.zeros((40, 80, 3), np.uint8)
    large, small, crowd = (np.zeros((40, 80), bool) for _ in range(3))
    large[10:30, 20:60], small[15:20, 30:40], crowd[0:40, 0:80] = True, True, True
    shapes = [
        {"category_id": 2, "bbox": [30, 15, 10, 5], "segmentation": masks.encode(small)},
        {"category_id": 1, "bbox": [20, 10, 40, 20], "segmentation": masks.encode(large)},
        {"category_id": 1, "bbox": [0, 0, 80, 40], "segmentation": masks.encode(crowd)}
        | {"iscrowd": 1},
    ]
    image = overlay(pixels, [Layer("truth", shapes)], ["Car", "Person"])
    assert image.image.size == (SIDE, SIDE)
    found = image._masks["truth"]._val["mask_data"]
    assert found[20 * 8, 50 * 8] == 1 and found[17 * 8, 35 * 8] == 2
    assert found[5 * 8, 5 * 8] == 3 and found[45 * 8, 5 * 8] == 0
    boxes = image._boxes["truth"]._val
    assert [box["class_id"] for box in boxes] == [2, 1]
    assert boxes[1]["position"] == {"minX": 0.25, "maxX": 0.75, "minY": 0.125, "maxY": 0.375}
