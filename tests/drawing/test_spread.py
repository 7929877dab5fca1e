from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.drawing.spread import choose

TRAITS = st.dictionaries(
    st.integers(1, 10**6), st.frozensets(st.sampled_from("abcdefgh"), min_size=1), max_size=40
)


@given(TRAITS, st.integers(0, 50), st.integers(0, 3))
def test_a_choice_is_sorted_distinct_of_the_wanted_number_and_repeatable(traits, number, seed):
    chosen = choose(traits, number, seed)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(traits)
    assert len(chosen) == min(number, len(traits))
    assert chosen == choose(dict(reversed(traits.items())), number, seed)


@given(TRAITS, st.integers(0, 3))
def test_enough_pictures_show_every_trait(traits, seed):
    seen = frozenset().union(*(traits[id_] for id_ in choose(traits, 8, seed)))
    assert seen == frozenset().union(*traits.values())


def test_the_rarest_trait_comes_first():
    traits = {i: frozenset({"car"}) for i in range(100)} | {200: frozenset({"light"})}
    assert choose(traits, 1, seed=0) == [200]


def test_another_seed_gives_other_pictures():
    traits = {i: frozenset({"car"}) for i in range(100)}
    assert choose(traits, 10, seed=0) != choose(traits, 10, seed=1)
