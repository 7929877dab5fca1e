import numpy as np
from raising import refused

from oiv5_d2.conversion import masks
from oiv5_d2.problems import Kind
from oiv5_d2.reporting.overlaps import cut_cells


def test_a_pair_of_cells_shows_what_is_cut(part, images):
    assert list(cut_cells(part, images, "smaller")) == []
    car = images[0].objects[1]
    mask = masks.decode(car["segmentation"])
    mask[30:40, 10:40] = True  # over the person
    overlap = int((masks.decode(images[0].objects[0]["segmentation"]) & mask).sum())
    car |= {"segmentation": masks.encode(mask), "area": int(mask.sum())}
    before, after = cut_cells(part, images, "smaller")
    assert before.caption.endswith("before") and after.caption.endswith("after")
    assert f"{overlap:,} px" in before.detail and "smaller" in after.detail
    assert redness(before.image) > redness(after.image) + 100


def test_an_unknown_order_is_refused(part, images):
    with refused(Kind.SETTING, key="data.occlusion"):
        list(cut_cells(part, images, "larger"))


def redness(pixels):
    """Return how many pixels are red, and neither green nor blue."""
    red, green, blue = np.moveaxis(pixels.astype(int), 2, 0)
    return int(((red > 180) & (green < 100) & (blue < 100)).sum())
