import pickle
from dataclasses import replace

import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

from detectron2.structures import Boxes  # isort: skip
from oiv5_d2.modeling.known import KnowingInstances, Known, is_covered, open_classes  # isort: skip
from oiv5_d2.modeling.settings import Annotation  # isort: skip

EVERYTHING = Annotation(
    boxes=True,
    regions="class",
    rpn_regions=True,
    overlap=0.5,
    unverified=True,
    rpn_background=1.0,
    loss="softmax",
    box_masks=0.0,
)
BOXES = Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 100, 100], [5, 0, 15, 10], [80, 80, 90, 90]]))
REGIONS = Boxes(torch.tensor([[0.0, 0, 10, 20], [70, 70, 99, 99]]))
KNOWN = Known(REGIONS, torch.tensor([2, 0]), torch.tensor([True, False, True]))


def test_a_box_is_in_a_region_by_the_share_of_its_own_area():
    wanted = [[True, False, True, False], [False, False, False, True]]
    assert is_covered(BOXES, REGIONS, 0.5).tolist() == wanted
    assert is_covered(BOXES, REGIONS, 0.51)[0].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [{1, 2}, {1}, {1, 2}, {0, 1}]),
        ({"unverified": False}, [{2}, set(), {2}, {0}]),
        ({"unverified": False, "regions": "any"}, [{0, 1, 2}, set(), {0, 1, 2}, {0, 1, 2}]),
        ({"regions": "background"}, [{1}] * 4),
        ({"regions": "background", "unverified": False}, [set()] * 4),
    ],
)
def test_what_a_box_may_show(settings, wanted):
    found = open_classes(BOXES, KNOWN, replace(EVERYTHING, **settings))
    assert [set(row.nonzero().flatten().tolist()) for row in found] == wanted


def test_without_regions_nothing_is_covered():
    none = Known(Boxes(torch.zeros(0, 4)), torch.zeros(0, dtype=torch.int64), torch.ones(3) > 0)
    assert not open_classes(BOXES, none, EVERYTHING).any()
    assert is_covered(BOXES, none.regions, 0.5).shape == (0, 4)


def test_what_is_known_travels_with_the_targets(sample):
    image = KnowingInstances(sample["instances"], KNOWN)
    for moved in (image.to("cpu"), pickle.loads(pickle.dumps(image))):
        assert moved.known.verified.tolist() == [True, False, True]
        assert moved.gt_classes.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boxes", "yes"),
        ("regions", "some"),
        ("overlap", 0.0),
        ("overlap", 1.5),
        ("rpn_background", -0.1),
        ("loss", "focal"),
        ("box_masks", -1.0),
    ],
)
def test_settings_without_a_meaning_are_refused(name, value):
    with refused(Kind.SETTING, key=f"annotation.{name}"):
        replace(EVERYTHING, **{name: value})
