"""The short run of `make fuzz`: some inputs a reader; hypothesis makes a wrong one small."""

import warnings

import pytest
from fuzzing.mutation import mutate
from fuzzing.readers import readers, try_one
from hypothesis import given, settings
from hypothesis import strategies as st

READERS = readers()


@pytest.mark.parametrize("name", READERS)
def test_right_inputs_are_taken(name, tmp_path):
    reader = READERS[name]
    taken = [try_one(reader, seed, tmp_path / "work") for seed in reader.seeds]
    assert taken == [b"BZ" not in seed or name != "zip" for seed in reader.seeds]


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_mutated_input_is_read_as_by_others_or_refused(name, tmp_path_factory):
    reader, folder = READERS[name], tmp_path_factory.mktemp("inputs") / "work"

    @settings(max_examples=200)
    @given(st.randoms(use_true_random=False))
    def read(random):
        with warnings.catch_warnings(action="ignore"):  # of Pillow, about sizes
            try_one(reader, reader.draw(random), folder)

    read()


def test_an_input_depends_on_its_seed_alone():
    from random import Random

    seeds = [b"a,b\n1,2\n", b'{"a": [1]}']
    drawn = [[mutate(Random(seed), seeds, [b"x"]) for seed in range(50)] for _ in range(2)]
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 40
