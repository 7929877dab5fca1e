"""Which few pictures to look at: a spread that shows everything there is at least once."""

import random
from collections import Counter
from collections.abc import Mapping

Traits = Mapping[int, frozenset[str]]  # by image id, what is to be seen there


def choose(traits: Traits, num_images: int, seed: int) -> list[int]:
    """Choose pictures so that every trait is seen, the rarest first; then fill up at random.

    Args:
        traits: by image id.
        num_images: how many to choose; all when there are fewer.
        seed: of the filling, and of the choice between equals.

    Returns:
        Image ids, sorted. The same arguments give the same choice.
    """
    order = sorted(traits)
    random.Random(seed).shuffle(order)
    chosen = _cover({id_: traits[id_] for id_ in order}, num_images)
    rest = [id_ for id_ in order if id_ not in chosen]
    return sorted([*chosen, *rest[: num_images - len(chosen)]])


def _cover(traits: Traits, num_images: int) -> dict[int, None]:
    """Return a greedy cover of all traits, in the order of choice; ties go to the first picture."""
    numbers = Counter(trait for found in traits.values() for trait in found)
    missing = set(numbers)
    chosen: dict[int, None] = {}
    for trait in sorted(numbers, key=lambda t: (numbers[t], t)):
        if trait in missing and len(chosen) < num_images:
            holders = [id_ for id_, found in traits.items() if trait in found]
            best = max(holders, key=lambda id_: len(traits[id_] & missing))
            chosen[best] = None
            missing -= traits[best]
    return chosen
