import math

import pytest

from oiv5_d2.training.hooks.early_stop import count_without_gain


@pytest.mark.parametrize(
    ("values", "min_gain", "expected"),
    [
        ([], 0.0, 0),
        ([1.0, 2.0, 3.0], 0.0, 0),
        ([1.0, 3.0, 2.0, 3.0], 0.0, 2),
        ([1.0, 3.0, 2.0, 3.1], 0.0, 0),
        ([1.0, 1.4, 1.8], 0.5, 0),  # the sum of small gains is a gain
        ([1.0, 1.4, 1.4], 0.5, 2),
        ([-3.0, -2.0, -2.5], 0.0, 1),
        ([1.0, math.nan, math.nan], 0.0, 2),
    ],
)
def test_evaluations_are_counted_since_the_last_gain(values, min_gain, expected):
    assert count_without_gain(values, min_gain) == expected
