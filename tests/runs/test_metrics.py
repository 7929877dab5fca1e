import math

import pytest
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.runs.metrics import check_metric, is_loss, look_up

CLASSES = ("Person", "Traffic light")
RESULTS = {"bbox": {"AP": 1.0}, "segm": {"AP": 2.0, "AP50-Traffic light": 3.0}}


@pytest.mark.parametrize("name", ["segm/AP", "bbox/AP75", "segm/AP50-Traffic light"])
def test_every_number_of_an_evaluation_can_be_the_metric(name):
    assert check_metric(name, CLASSES, has_masks=True) == name


@pytest.mark.parametrize("name", ["segm/mAP", "segm/AP-Car", "AP", ""])
def test_an_unknown_metric_is_refused(name):
    with refused(Kind.SETTING, key="metric"):
        check_metric(name, CLASSES, has_masks=True)


def test_averaged_weights_have_the_same_metrics_if_the_run_has_them():
    assert check_metric("ema/segm/AP", CLASSES, True, ["ema"]) == "ema/segm/AP"
    assert check_metric("ema/segm/AP", CLASSES, False, ["ema"]) == "ema/bbox/AP"
    with refused(Kind.SETTING, key="metric"):
        check_metric("ema/segm/AP", CLASSES, True)
    both = {**RESULTS, "ema": {"a": {"segm": {"AP": 5.0}}}}
    assert look_up(both, "ema/segm/AP") == 5.0 and look_up(both, "segm/AP") == 2.0


def test_the_validation_loss_is_a_metric_of_which_less_is_better():
    name = "validation/total_loss"
    assert check_metric(name, CLASSES, False, has_losses=True) == name
    assert is_loss(name) and not is_loss("segm/AP")
    assert look_up({**RESULTS, "validation": {"total_loss": 0.5}}, name) == 0.5
    with refused(Kind.SETTING, key="metric"):
        check_metric(name, CLASSES, True)


def test_boxes_only_are_compared_by_boxes():
    assert check_metric("segm/AP", CLASSES, has_masks=False) == "bbox/AP"


def test_a_metric_is_looked_up_in_the_first_of_several_data_sets():
    assert look_up(RESULTS, "segm/AP50-Traffic light") == 3.0
    assert look_up({"a": RESULTS, "b": {}}, "segm/AP") == 2.0
    assert math.isnan(look_up({}, "segm/AP"))
    assert math.isnan(look_up({"bbox": {"AP": 1.0}}, "segm/AP"))


def test_the_open_images_metric_can_be_the_metric():
    assert check_metric("open_images/segm/AP50", CLASSES, True) == "open_images/segm/AP50"
    assert check_metric("open_images/segm/AP50", CLASSES, False) == "open_images/bbox/AP50"
    results = {"segm": {"AP": 1.0}, "open_images/segm": {"AP50": 5.0}}
    assert look_up(results, "open_images/segm/AP50") == 5.0
    with refused(Kind.SETTING, key="metric"):
        check_metric("open_images/segm/AP", CLASSES, has_masks=True)
