import pytest
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.selection.choice import Choice, Limit


@pytest.mark.parametrize(
    ("settings", "key", "about"),
    [
        ({"splits": ("val",)}, "splits", "val"),
        ({"splits": ()}, "splits", ""),
        ({"splits": ("train", "train")}, "splits", ""),
        ({"splits": ("train",), "shares": {"../a": 0.5}}, "shares", "../a"),
        ({"shares": {"a": 0.5}}, "shares", ""),
        ({"splits": ("train",), "shares": {"a": 0.5, "b": 0.6}}, "shares", "0.6"),
        ({"splits": ("train",), "shares": {"a": 0.0}}, "shares", "0.0"),
        ({"splits": ("train",), "shares": {}}, "shares", ""),
        ({"limit": Limit(0)}, "limit.per_class", "0"),
        ({"limit": Limit(unit="boxes")}, "limit.unit", "boxes"),
        ({"keep_verified": ["holdout"]}, "keep_verified", "holdout"),
        ({"limit": Limit(1, "masks"), "only_masked": False}, "limit.unit", "data.only_masked"),
        ({"exclude": ("occluded",)}, "exclude", "occluded"),
        ({"require": ("IsTrue",)}, "require", "IsTrue"),
        ({"require": ("IsInside",), "exclude": ("IsInside",)}, "require", "data.exclude"),
        ({"require": ("IsGroupOf",)}, "require", "IsGroupOf"),
        ({"id_prefixes": ("0x",)}, "id_prefixes", "0x"),
        ({"image_ids": ()}, "image_ids", ""),
        ({"image_ids": ("0123",)}, "image_ids", "0123"),
        ({"min_predicted_iou": 80}, "min_predicted_iou", "80"),
    ],
)
def test_a_setting_without_meaning_is_refused(settings, key, about):
    remedy = Remedy.CHANGE_SETTING
    with refused(Kind.SETTING, key=f"data.{key}", remedy=remedy, about=about):
        Choice(("Person",), **settings)


def test_parts_are_the_splits_or_the_shares_of_one():
    assert Choice(("Car",)).parts == ("train", "validation", "test")
    cut = Choice(("Car",), splits=("train",), shares={"a": 0.5, "b": 0.25})
    assert cut.parts == ("a", "b")
    assert cut.parts_of("train") == {"a": 0.5, "b": 0.25}
    assert Choice(("Car",)).parts_of("test") == {"test": 1.0}


def test_lists_become_tuples():
    assert Choice(["Car"], exclude=["IsInside"]) == Choice(("Car",), exclude=("IsInside",))
