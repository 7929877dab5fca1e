import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.openimages.ids import IdSet, parse_ids, to_numbers

ids = st.lists(st.integers(0, 2**64 - 1).map("{:016x}".format), max_size=30)


@given(ids)
def test_a_number_is_the_id_it_was_made_of(open_images_ids):
    numbers = to_numbers(pd.Series(open_images_ids, dtype=str))
    assert [f"{number:016x}" for number in numbers.tolist()] == open_images_ids


@given(ids, ids)
def test_a_set_contains_what_was_put_in(held, others):
    held_set = IdSet.of(held)
    asked = pd.Series(held + others, dtype=str)
    expected = [open_images_id in held for open_images_id in asked]
    assert held_set.contain(asked).tolist() == expected
    in_two_chunks = parse_ids(pa.chunked_array([held, others], pa.string()))
    assert held_set.contain_numbers(in_two_chunks).tolist() == expected


@given(ids)
def test_a_slice_of_an_array_is_parsed_as_the_slice(open_images_ids):
    array = pa.array(open_images_ids, pa.string())
    expected = to_numbers(pd.Series(open_images_ids[1:], dtype=str)).tolist()
    assert parse_ids(pa.chunked_array([array[1:]])).tolist() == expected


@pytest.mark.parametrize("wrong", ["", "0" * 15, "0" * 17, "A" * 16, "g" * 16, "0" * 14 + " 0"])
def test_what_is_not_16_hex_digits_is_refused(wrong):
    with pytest.raises(ValueError):
        parse_ids(pa.chunked_array([["0" * 16, wrong, "f" * 16]], pa.string()))
