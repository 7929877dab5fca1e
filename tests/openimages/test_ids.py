import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from oiv5_d2.openimages.image_ids import ImageIds, to_numbers

ids = st.lists(st.integers(0, 2**64 - 1).map("{:016x}".format), max_size=30)


@given(ids)
def test_a_number_is_the_id_it_was_made_of(image_ids):
    numbers = to_numbers(pd.Series(image_ids, dtype=str))
    assert [f"{number:016x}" for number in numbers.tolist()] == image_ids


@given(ids, ids)
def test_a_set_contains_what_was_put_in(held, others):
    image_ids = ImageIds.of(held)
    asked = pd.Series(held + others, dtype=str)
    expected = [image_id in held for image_id in asked]
    assert image_ids.contain(asked).tolist() == expected
    in_two_chunks = pa.chunked_array([held, others], pa.string())
    assert image_ids.contain(in_two_chunks).tolist() == expected
