"""Two runs of one model differ by chance alone: how often `compare` says so."""

import numpy as np
import pytest
from simulated import detect, draw_truth

from oiv5_d2.evaluation.differences import compare
from oiv5_d2.evaluation.hierarchy import read_above


def count_clear(pairs, num_images, resamples, recalls=(0.7, 0.7)):
    """Return in how many pairs of drawn detections AP50 has a p below 0.05."""
    number = 0
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        truth = draw_truth(rng, num_images)
        pair = tuple(detect(rng, truth, recall) for recall in recalls)
        above = read_above(truth, {}, None)
        found = {one.name: one for one in compare(truth, pair, above, ["bbox"], resamples)}
        number += found["bbox/AP50"].p < 0.05
    return number


def test_a_better_detector_is_told_from_a_worse_one():
    assert count_clear(5, 100, 100, recalls=(0.6, 0.85)) == 5


@pytest.mark.slow
def test_two_runs_of_one_model_are_no_difference_in_95_of_100():
    """Give or take three standard errors of that share."""
    share = 1 - count_clear(200, 100, 300) / 200
    assert share == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 200) ** 0.5)
