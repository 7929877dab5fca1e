import itertools
from collections import Counter

import numpy as np
import pytest
from detectron2.data.samplers import RepeatFactorTrainingSampler
from hypothesis import given
from hypothesis import strategies as st
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training.data.records import Objects
from oiv5_d2.training.data.samplers import (
    SAMPLERS,
    Batches,
    build_order,
    repeat_factors,
    share_of,
)

NUM_IMAGES = 40
RARE = 9  # a class of two images


def objects(categories, is_target=True):
    """Objects of images, one a list of categories."""
    images = [index for index, some in enumerate(categories) for _ in some]
    flat = np.array([one for some in categories for one in some], np.int16)
    kept = np.broadcast_to(is_target, flat.shape)
    return Objects(len(categories), np.array(images, np.int64), flat, kept, kept)


OBJECTS = objects([[0, RARE]] * 2 + [[0]] * (NUM_IMAGES - 2))
IS_WIDE = np.arange(NUM_IMAGES) % 3 > 0


def batches(name, batch_size=4, seed=1, groups=IS_WIDE):
    return Batches(build_order(name, OBJECTS, 0.5), groups, batch_size, seed)


def take(found, first, count):
    return list(itertools.islice(found.from_step(first), count))


@pytest.mark.parametrize("name", SAMPLERS)
@given(first=st.integers(0, 60), seed=st.integers(0, 5))
def test_a_step_has_the_same_images_wherever_one_starts(name, first, seed):
    whole = take(batches(name, seed=seed), 0, 70)
    assert take(batches(name, seed=seed), first, 10) == whole[first : first + 10]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_batch_has_images_of_one_orientation(name):
    for batch in take(batches(name), 0, 50):
        assert len(batch) == 4 and len({bool(IS_WIDE[index]) for index in batch}) == 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_seeds_differ(name):
    assert take(batches(name, seed=1), 0, 5) != take(batches(name, seed=2), 0, 5)


def test_the_plain_sampler_shows_every_image_once_an_epoch():
    epochs = [sorted(take(batches("TrainingSampler", 40, groups=None), e, 1)[0]) for e in (0, 1)]
    assert epochs == [list(range(NUM_IMAGES))] * 2


def counted(name):
    drawn = Counter(itertools.chain(*take(batches(name, groups=None), 0, 2000)))
    rare = drawn[0] + drawn[1]
    return rare / drawn.total()


def test_rare_images_come_as_often_as_asked():
    assert counted("TrainingSampler") == pytest.approx(2 / 40, abs=0.002)
    # The square root of 0.5 over 2 of 40 images.
    factor = np.sqrt(0.5 / 0.05)
    expected = 2 * factor / (38 + 2 * factor)
    assert counted("RepeatFactorTrainingSampler") == pytest.approx(expected, abs=0.01)
    # Half of the draws are of the rare class, and the other class has these images too.
    assert counted("ClassAwareSampler") == pytest.approx(0.5 + 0.5 * 2 / 40, abs=0.01)


def test_ignored_regions_do_not_count_as_objects():
    found = objects([[0, RARE], [0], [7]], [True, True, True, False])
    order = build_order("ClassAwareSampler", found, 0.0)
    assert 2 not in order(np.random.default_rng(0))


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=30))
def test_repeat_factors_are_detectron2_s_to_the_bit(categories):
    records = [{"annotations": [{"category_id": c} for c in some]} for some in categories]
    stock = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, 0.3)
    assert repeat_factors(objects(categories), 0.3).tolist() == stock.double().tolist()


def test_an_unknown_sampler_is_refused_with_the_names_that_there_are():
    with refused(Kind.SETTING, key="d2.DATALOADER.SAMPLER_TRAIN", about="ClassAwareSampler"):
        build_order("RandomSampler", OBJECTS, 0.0)


def test_a_smaller_share_is_part_of_a_larger_one():
    shares = [set(share_of(40, share, 1).tolist()) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [len(one) for one in shares] == [4, 10, 20, 40]
    assert all(small <= large for small, large in itertools.pairwise(shares))
    assert share_of(40, 0.25, 1).tolist() != share_of(40, 0.25, 2).tolist()
    assert len(share_of(40, 0.001, 1)) == 1


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01])
def test_a_share_out_of_range_is_refused(share):
    with refused(Kind.SETTING, key="trainer.data_share"):
        share_of(40, share, 1)
