import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from oiv5_d2.audit import balance

COUNTS = st_numpy.arrays(
    np.int64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.integers(0, 5)
)


def dataset_dicts(present):
    """Return what Detectron2's sampler is given."""
    return [
        {"annotations": [{"category_id": int(c)} for c in np.flatnonzero(row)]} for row in present
    ]


@pytest.mark.parametrize("threshold", [0.001, 0.1, 1.0])
def test_repeat_factors_are_detectron2_s(threshold):
    pytest.importorskip("oiv5_d2.training.compat")
    from detectron2.data.samplers import RepeatFactorTrainingSampler

    present = np.random.default_rng(0).random((200, 4)) < [0.8, 0.3, 0.05, 0.01]
    theirs = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        dataset_dicts(present), threshold
    )
    ours = balance.repeat_factors(present, threshold)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


@given(COUNTS, st.sampled_from(balance.THRESHOLDS), st.booleans())
def test_shares_add_up_and_no_image_is_shown_less_than_once(counts, threshold, square_root):
    mix = balance.mix(counts > 0, counts, threshold, square_root)
    assert sum(mix.shares) == pytest.approx(1.0 if counts.any() else 0.0)
    assert mix.ratio >= 1 and mix.most_repeats >= 1
    assert balance.repeat_factors(counts > 0, threshold, square_root).min() >= 1


def uneven():
    """Return 400 images: all have the first class, 40 the second, 4 the third."""
    counts = np.zeros((400, 3), np.int64)
    counts[:, 0] = 2
    counts[:40, 1] = 1
    counts[:4, 2] = 1
    return counts


def test_a_class_that_few_images_hold_is_shown_more_often():
    counts = uneven()
    plain = balance.mix(counts > 0, counts, 0.0)
    repeated = balance.mix(counts > 0, counts, 0.1)
    assert plain.ratio == 200 and plain.most_repeats == 1
    assert repeated.ratio < plain.ratio / 2
    assert repeated.most_repeats == pytest.approx(np.sqrt(0.1 / 0.01))
    assert repeated.shares[2] > plain.shares[2]


def test_the_sampler_is_recommended_only_where_classes_are_uneven():
    even = np.ones((50, 4), np.int64)
    told = balance.report(even > 0, even)["recommended"]
    assert told["DATALOADER.SAMPLER_TRAIN"] == "TrainingSampler"
    told = balance.report(uneven() > 0, uneven())["recommended"]
    assert told["DATALOADER.SAMPLER_TRAIN"] == "RepeatFactorTrainingSampler"
    assert told["DATALOADER.REPEAT_THRESHOLD"] > 0


def mix(threshold, ratio, most_repeats=1.0):
    return balance.Mix(threshold, (), ratio, most_repeats)


def test_the_first_threshold_that_is_enough_is_recommended_and_else_the_best():
    enough = [mix(0, 200), mix(0.1, 30, 3), mix(0.3, 9, 5), mix(1, 4, 8)]
    assert balance.recommend(enough).threshold == 0.3
    assert balance.recommend(enough[:2]).threshold == 0.1
    assert balance.recommend([mix(0, 200), mix(0.1, 30, 3), mix(1, 4, 50)]).threshold == 0.1


def test_no_objects_at_all_are_no_trouble():
    none = np.zeros((3, 4), np.int64)
    assert balance.report(none > 0, none)["ratio"] == 1.0
    nothing = np.zeros((0, 4), np.int64)
    assert balance.report(nothing > 0, nothing)["ratio"] == 1.0
