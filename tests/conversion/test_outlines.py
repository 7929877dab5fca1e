import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from raising import refused

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.occlusion import HIDDEN
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.conversion.polygons import to_polygons
from oiv5_d2.problems import Kind

HEIGHT, WIDTH = 6, 9


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_a_mask_comes_back_from_its_polygons(mask):
    polygons = to_polygons(mask)
    assert bool(polygons) == mask.any()
    if polygons:
        rle = masks.to_rle(polygons, *mask.shape)
        np.testing.assert_array_equal(masks.decode(rle), mask)


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=8))
def test_a_large_mask_with_holes_comes_back_too(boxes):
    mask = np.zeros((40, 50), bool)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] ^= True
    if mask.any():
        rle = masks.to_rle(to_polygons(mask), *mask.shape)
        np.testing.assert_array_equal(masks.decode(rle), mask)


def test_two_pieces_are_two_polygons_with_the_mask_s_area():
    mask = np.zeros((5, 9), bool)
    mask[1:3, 1:4] = mask[2:4, 6:8] = True
    assert to_polygons(mask) == [[1, 1, 4, 1, 4, 3, 1, 3], [6, 2, 8, 2, 8, 4, 6, 4]]


def annotation(rows, columns, **more):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows, columns] = True
    box, area = [float(side) for side in masks.tight_box(mask)], int(mask.sum())
    about = {"bbox": box, "area": area, "segmentation": masks.encode(mask)}
    return {**about, "iscrowd": 0, "ignore_reason": "", **more}


LARGE = annotation(slice(0, 4), slice(0, 6))
SMALL = annotation(slice(2, 6), slice(4, 8))  # it reaches further down; 4 pixels are in both
CROWD = annotation(slice(0, 6), slice(0, 9), iscrowd=1, ignore_reason="group of")


def drawn(one):
    return masks.decode(masks.to_rle(one["segmentation"], HEIGHT, WIDTH))


@pytest.mark.parametrize("order", ["smaller", "lower"])
def test_a_pixel_belongs_to_the_object_in_front(order):
    large, small, crowd = Outlines(occlusion=order).apply([LARGE, SMALL, CROWD], HEIGHT, WIDTH)
    assert (small, crowd) == (SMALL, CROWD)
    np.testing.assert_array_equal(drawn(large), drawn(LARGE) & ~drawn(SMALL))
    assert (large["area"], large["cut_pixels"], large["bbox"]) == (20, 4, [0, 0, 6, 4])


def test_the_orders_differ_where_the_smaller_object_is_higher():
    high = annotation(slice(0, 1), slice(0, 3))
    for order, areas in {"smaller": [21, 3], "lower": [24, 3]}.items():
        large, small = Outlines(occlusion=order).apply([LARGE, high], HEIGHT, WIDTH)
        hidden = order == "lower"
        assert [large["area"], small["area"]] == areas
        assert small["iscrowd"] == hidden and (small["ignore_reason"] == HIDDEN) == hidden


def test_objects_become_polygons_and_regions_do_not():
    large, crowd = Outlines(masks="polygons").apply([LARGE, CROWD], HEIGHT, WIDTH)
    assert large["segmentation"] == [[0, 0, 6, 0, 6, 4, 0, 4]]
    assert {**large, "segmentation": LARGE["segmentation"]} == LARGE and crowd == CROWD


def test_without_settings_nothing_changes():
    assert Outlines().apply([LARGE, SMALL], HEIGHT, WIDTH) == [LARGE, SMALL]
    assert Outlines().settings() == {}


@pytest.mark.parametrize("wrong", [{"masks": "png"}, {"occlusion": "depth"}])
def test_an_unknown_setting_is_refused(wrong):
    with refused(Kind.SETTING, key=f"data.{next(iter(wrong))}"):
        Outlines(**wrong)
