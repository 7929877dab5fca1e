import numpy as np
import pytest
from judging import random_case, read

from oiv5_d2.evaluation.differences import changed_images, compare, compare_slices
from oiv5_d2.evaluation.hierarchy import read_above


@pytest.fixture
def case(tmp_path):
    return read(tmp_path, *random_case(5))


def test_the_same_detections_do_not_differ(case):
    truth, found = case
    differences = compare(truth, (found, found), read_above(truth, {}, None), ["segm"], 50)
    assert {"segm/AP", "segm/AP50-Car", "open_images/segm/AP50"} <= {
        one.name for one in differences
    }
    for one in differences:
        if not np.isnan(one.first):
            assert one.first == one.second and one.p == 1 and not one.is_clear
    assert changed_images(truth, (found, found), "segm") == []


def test_detections_that_were_lost_are_a_clear_difference(case):
    truth, found = case
    nothing = found.take(np.zeros(len(found), dtype=bool))
    differences = compare(truth, (found, nothing), read_above(truth, {}, None), ["segm"], 200)
    (overall,) = (one for one in differences if one.name == "segm/AP50")
    assert overall.second == 0 and overall.interval[1] < 0 and overall.p < 0.05
    changed = changed_images(truth, (found, nothing), "segm")
    assert changed and all(abs(a["first"] - a["second"]) > 0 for a in changed)
    sliced = compare_slices(truth, (found, nothing), "segm", {}, 50)
    assert {"slice: images with 1 object", "slice: not inside"} & {one.name for one in sliced}
