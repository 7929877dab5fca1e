import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image
from pycocotools import mask as coco_mask

from oiv5_d2.conversion import masks

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

SIDES = st.integers(1, 24)
MASKS = st.tuples(SIDES, SIDES).flatmap(lambda shape: st_numpy.arrays(bool, shape))
FRACTIONS = st.floats(0, 1, width=32)


def png(mask, mode="1"):
    """Return the bytes of a PNG of a bool mask in one of Pillow's modes."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def slowly_resized(mask, height, width):
    """Say the rule of the module pixel by pixel, with the centre as a fraction."""
    target = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            source_y = int((y + 0.5) / height * mask.shape[0])
            source_x = int((x + 0.5) / width * mask.shape[1])
            target[y, x] = mask[source_y, source_x]
    return target


@given(MASKS, st.sampled_from(["1", "L", "RGB", "P"]))
def test_a_mask_survives_its_png_in_any_mode(mask, mode):
    np.testing.assert_array_equal(masks.read_png(png(mask, mode)), mask)


@pytest.mark.parametrize("value", [1, 2, 255, 256, 65535])
def test_whatever_is_above_zero_is_object(value):
    pixels = np.zeros((3, 5), np.uint16)
    pixels[1, 2:4] = value
    if value < 256:
        pixels = pixels.astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    np.testing.assert_array_equal(masks.read_png(buffer.getvalue()), pixels > 0)


@given(st.data())
def test_a_broken_png_is_a_value_error_and_nothing_else(data):
    whole = png(np.eye(40, 60, dtype=bool))
    position = data.draw(st.integers(0, len(whole) - 1))
    cut = whole[:position]
    with pytest.raises(ValueError):
        masks.read_png(cut[: len(whole) - 30])  # a PNG short of its last chunk alone is still read
    broken = bytearray(whole)
    broken[position] ^= data.draw(st.integers(1, 255))
    try:
        assert masks.read_png(bytes(broken)).dtype == bool
    except ValueError as error:
        assert str(error).startswith("unreadable PNG")


def test_a_png_that_claims_absurd_dimensions_is_refused():
    whole = bytearray(png(np.ones((2, 2), bool)))
    whole[16:24] = struct.pack(">II", 60000, 60000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    with pytest.raises(ValueError):
        masks.read_png(bytes(whole))


@given(MASKS)
def test_resizing_to_the_same_size_changes_nothing(mask):
    np.testing.assert_array_equal(masks.resize(mask, *mask.shape), mask)


@given(MASKS, SIDES, SIDES)
def test_a_target_pixel_takes_the_source_pixel_under_its_centre(mask, height, width):
    resized = masks.resize(mask, height, width)
    assert resized.shape == (height, width)
    np.testing.assert_array_equal(resized, slowly_resized(mask, height, width))


def test_resizing_agrees_with_pillow_where_no_centre_falls_on_an_edge():
    mask = np.random.default_rng(0).random((1200, 1600)) < 0.5
    pillow = Image.fromarray(mask).resize((1024, 769), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(masks.resize(mask, 769, 1024), np.asarray(pillow) > 0)


@given(MASKS, st.integers(1, 4))
def test_growing_by_a_whole_factor_repeats_pixels(mask, factor):
    height, width = mask.shape
    grown = masks.resize(mask, height * factor, width * factor)
    np.testing.assert_array_equal(grown, np.kron(mask, np.ones((factor, factor), bool)))


@given(MASKS)
def test_a_mask_survives_encoding(mask):
    rle = masks.encode(mask)
    assert rle["size"] == list(mask.shape) and isinstance(rle["counts"], str)
    np.testing.assert_array_equal(masks.decode(rle), mask)


@given(MASKS, SIDES, SIDES)
def test_the_quick_way_gives_the_plain_way_s_run_lengths_box_and_area(mask, height, width):
    resized = masks.resize(mask, height, width)
    region = masks.encode_resized(mask, height, width)
    assert region.rle == masks.encode(resized)
    assert region.box == masks.tight_box(resized)
    assert region.area == np.count_nonzero(resized) == coco_mask.area(region.rle)


@given(MASKS)
def test_the_tight_box_contains_the_mask_and_touches_it_on_all_sides(mask):
    x, y, width, height = masks.tight_box(mask)
    if not mask.any():
        assert (x, y, width, height) == (0, 0, 0, 0)
        return
    inside = mask[y : y + height, x : x + width]
    assert np.count_nonzero(inside) == np.count_nonzero(mask)
    assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


@given(MASKS)
def test_the_tight_box_is_pycocotools_own(mask):
    assert list(masks.tight_box(mask)) == coco_mask.toBbox(masks.encode(mask)).tolist()


@given(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS, SIDES, SIDES)
def test_a_box_s_run_lengths_are_those_of_the_drawn_box(x0, x1, y0, y1, height, width):
    box = masks.RelBox(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    region = masks.encode_box(box, height, width)
    x, y, w, h = region.box
    drawn = np.zeros((height, width), bool)
    drawn[y : y + h, x : x + w] = True
    assert region.rle == masks.encode(drawn)
    assert region.box == masks.tight_box(drawn)
    assert region.area == np.count_nonzero(drawn) >= 1


@given(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS, SIDES, SIDES)
def test_a_box_s_region_covers_the_box_by_less_than_a_pixel(x0, x1, y0, y1, height, width):
    box = masks.RelBox(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    x, y, w, h = masks.encode_box(box, height, width).box
    left, top, box_width, box_height = masks.to_xywh_abs(box, height, width)
    assert 0 <= x and 0 <= y and x + w <= width and y + h <= height
    assert x <= left and left + box_width <= x + w + 1e-6
    assert y <= top and top + box_height <= y + h + 1e-6
    assert w < box_width + 2 and h < box_height + 2


def test_relative_corners_become_pixels_of_their_own_axis():
    box = masks.RelBox(x0=0.25, y0=0.5, x1=0.75, y1=1.0)
    assert masks.to_xywh_abs(box, height=10, width=40) == [10, 5, 20, 5]
