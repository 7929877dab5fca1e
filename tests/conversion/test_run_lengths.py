import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from oiv5_d2.conversion import masks, run_lengths
from oiv5_d2.conversion.run_lengths import is_of_size

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31), st.floats(0, 1))
def test_what_pycocotools_writes_is_of_its_size(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    text = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode("ascii")
    assert is_of_size(text, height * width)
    assert not is_of_size(text, height * width + 1)


def test_a_long_run_is_read():
    mask = np.zeros((3000, 4000), np.uint8, order="F")
    mask[5:2000, 7:3000] = 1
    text = coco_mask.encode(mask)["counts"].decode("ascii")
    assert is_of_size(text, mask.size)
    assert not is_of_size(text[:-1], mask.size) and not is_of_size(text[1:], mask.size)


@pytest.mark.parametrize(
    "counts", ["", "é", " ", "oooooooooo", "o" * 50 + "0", "~", [1, "2"], [1.5]]
)
def test_what_is_no_run_lengths_is_refused(counts):
    assert not is_of_size(counts, 12)


def test_numbers_must_add_up_and_not_be_negative():
    assert is_of_size([3, 4, 5], 12)
    assert not is_of_size([3, 4, 4], 12) and not is_of_size([14, -2], 12)


@pytest.mark.parametrize("columns", [(0, 7), (2, 5), (6, 7), (3, 3)])
def test_some_columns_of_a_mask_are_those_of_the_whole(columns):
    rng = np.random.default_rng(columns[1])
    mask = rng.random((5, 7)) < 0.5
    (lengths,) = run_lengths.read([masks.encode(mask)["counts"]])
    drawn = run_lengths.draw(lengths, 5, columns)
    np.testing.assert_array_equal(drawn, mask[:, slice(*columns)])
