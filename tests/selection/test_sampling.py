import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oiv5_d2.selection.sampling import cut, limit, seeded_keys

ids = st.lists(st.integers(0, 2**64 - 1).map("{:016x}".format), unique=True, max_size=50)
seeds = st.integers(-(2**70), 2**70)


@settings(max_examples=50)
@given(ids, seeds)
def test_no_two_images_share_a_key(image_ids, seed):
    keys = seeded_keys(pd.Series(image_ids, dtype=str), seed)
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == len(image_ids)


@settings(max_examples=50)
@given(ids, seeds)
def test_an_image_has_its_key_in_whatever_company(image_ids, seed):
    together = seeded_keys(pd.Series(image_ids, dtype=str), seed)
    alone = [seeded_keys(pd.Series([image_id]), seed)[0] for image_id in image_ids]
    assert together.tolist() == alone


def test_keys_are_those_of_the_published_generator():
    # SplitMix64 started at 0 gives this number first; a key mixes the id with the mixed seed.
    zero = pd.Series([f"{0xE220A8397B1DCDAF:016x}"])
    assert seeded_keys(zero, 0).tolist() == [0xE220A8397B1DCDAF]


def test_keys_scatter_evenly():
    image_ids = pd.Series([f"{number:016x}" for number in range(4096)])
    for seed in (0, 1, 2**63):
        in_sixteenths = np.bincount((seeded_keys(image_ids, seed) >> np.uint64(60)).astype(int))
        assert in_sixteenths.min() > 200
        assert in_sixteenths.max() < 312


@settings(max_examples=50)
@given(ids, st.lists(st.floats(0.01, 0.25), min_size=1, max_size=4), seeds)
def test_parts_are_disjoint_sorted_and_as_large_as_asked(image_ids, shares, seed):
    shares = {f"part{index}": share for index, share in enumerate(shares)}
    parts = cut(pd.Series(image_ids, dtype=str), shares, seed)
    assert list(parts) == list(shares)
    chosen = [image_id for part in parts.values() for image_id in part]
    assert len(chosen) == len(set(chosen))
    assert set(chosen) <= set(image_ids)
    for part, share in shares.items():
        assert parts[part].tolist() == sorted(parts[part])
        assert abs(len(parts[part]) - share * len(image_ids)) <= 1


@settings(max_examples=50)
@given(ids, seeds, st.randoms(use_true_random=False))
def test_a_cut_does_not_depend_on_the_order(image_ids, seed, order):
    shares = {"a": 0.5, "b": 0.3}
    first = cut(pd.Series(image_ids, dtype=str), shares, seed)
    order.shuffle(image_ids)
    second = cut(pd.Series(image_ids, dtype=str), shares, seed)
    for part in shares:
        assert first[part].tolist() == second[part].tolist()


counts = st.dictionaries(
    st.tuples(st.integers(0, 30).map("{:016x}".format), st.sampled_from("abc")),
    st.integers(1, 4),
    max_size=60,
).map(
    lambda rows: pd.DataFrame(
        {
            "ImageID": pd.Series([image for image, _ in rows], dtype=str),
            "ClassName": pd.Series([name for _, name in rows], dtype=str),
            "Count": pd.Series(list(rows.values()), dtype=int),
        }
    )
)


@settings(max_examples=50)
@given(counts, st.integers(1, 20), seeds)
def test_each_class_gets_what_is_wanted_or_all_there_is(counts, num_wanted, seed):
    chosen = limit(counts, num_wanted, seed)
    assert chosen.tolist() == sorted(set(chosen))
    there = counts.groupby("ClassName")["Count"].sum()
    had = counts[counts["ImageID"].isin(chosen)].groupby("ClassName")["Count"].sum()
    assert (had.reindex(there.index, fill_value=0) >= there.clip(upper=num_wanted)).all()


@settings(max_examples=50)
@given(counts, st.integers(1, 20), seeds)
def test_no_class_takes_an_image_it_does_not_need(counts, num_wanted, seed):
    only_one = counts[counts["ClassName"] == "a"]
    chosen = limit(only_one, num_wanted, seed)
    taken = only_one[only_one["ImageID"].isin(chosen)]["Count"]
    assert taken.empty or taken.sum() - taken.max() < num_wanted


@settings(max_examples=50)
@given(counts, st.integers(1, 20), seeds)
def test_of_one_class_a_higher_limit_adds_to_a_lower_one(counts, num_wanted, seed):
    only_one = counts[counts["ClassName"] == "a"]
    lower, higher = (set(limit(only_one, num, seed)) for num in (num_wanted, num_wanted + 1))
    assert lower <= higher


@pytest.mark.parametrize("seed", range(10))
def test_the_rarest_class_chooses_first(seed):
    people = [(f"{number:016x}", "Person", 1) for number in range(50)]
    lights = [(f"{number:016x}", "Light", 1) for number in range(0, 50, 10)]
    counts = pd.DataFrame(people + lights, columns=["ImageID", "ClassName", "Count"])
    chosen = limit(counts, 5, seed)
    assert chosen.tolist() == [image for image, _, _ in lights]  # the people on them are enough
