import numpy as np

from oiv5_d2.training.data.learned import count_learned

CLASSES = ("Person", "Car")


def annotation(category_id, iscrowd=0, has_mask=True):
    return {"category_id": category_id, "iscrowd": iscrowd, "has_mask": has_mask}


def test_targets_regions_and_unverified_images_are_counted_by_class():
    many = [annotation(0), annotation(0), annotation(0, has_mask=False), annotation(0, 1, False)]
    records = [
        {"annotations": many, "verified": [True, False]},
        {"annotations": [annotation(1, has_mask=False)], "verified": [False, True]},
    ]
    table = count_learned(records, lambda _: np.array([0, 1, 1, 1]), CLASSES)
    assert table.rows == [
        ("Person", "2", "1", "1", "1", "75.0%", "50.0%"),
        ("Car", "0", "1", "0", "1", "25.0%", "50.0%"),
    ]


def test_without_targets_all_shares_are_zero():
    records = [{"annotations": [], "verified": [True, True]}]
    (person, _) = count_learned(records, lambda _: np.array([0]), CLASSES).rows
    assert person == ("Person", "0", "0", "0", "0", "0.0%", "0.0%")
