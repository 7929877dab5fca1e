import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from oiv5_d2.openimages.release import ATTRIBUTES
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.objects import COORDINATES, ignore_reasons, join, match, sort

PLACE = ["ImageID", "LabelName"]


def masks_of(rows):
    """Make masks of rows (image, label, XMin, ...) in millionths."""
    table = pd.DataFrame(
        [(image, label, *(x / 1e6 for x in box)) for image, label, *box in rows],
        columns=[*PLACE, *COORDINATES],
    )
    names = [f"{number:08x}" for number in range(len(rows))]
    table = table.assign(MaskPath=[f"{name}.png" for name in names], BoxID=names)
    return table.astype(dict.fromkeys([*PLACE, "MaskPath", "BoxID"], str)).assign(PredictedIoU=0.5)


def boxes_of(rows):
    table = masks_of(rows)[[*PLACE, *COORDINATES]]
    return table.assign(**dict.fromkeys(ATTRIBUTES, np.int8(0)))


def pairs(masks, boxes):
    mask_rows, box_rows = match(masks_of(masks), boxes_of(boxes))
    return sorted(zip(mask_rows.tolist(), box_rows.tolist(), strict=True))


HERE = ("i", "m", 100_000, 500_000, 200_000, 900_000)
BESIDE = ("i", "m", 100_001, 499_999, 200_001, 900_000)
FAR = ("i", "m", 100_002, 500_000, 200_000, 900_000)


def test_equal_boxes_are_one_object():
    assert pairs([HERE, FAR], [FAR, HERE]) == [(0, 1), (1, 0)]


def test_a_last_digit_may_differ():
    assert pairs([HERE], [BESIDE]) == [(0, 0)]
    assert pairs([HERE], [FAR]) == []


def test_an_equal_box_is_preferred_to_a_near_one():
    assert pairs([HERE], [BESIDE, HERE]) == [(0, 1)]
    assert pairs([HERE, BESIDE], [BESIDE, HERE]) == [(0, 1), (1, 0)]


def test_another_image_or_label_never_matches():
    assert pairs([HERE], [("j", *HERE[1:]), ("i", "n", *HERE[2:])]) == []


def test_of_equal_masks_and_equal_boxes_each_has_one():
    assert pairs([HERE] * 3, [HERE] * 2) == [(0, 0), (1, 1)]
    assert pairs([HERE] * 2, [BESIDE] * 3) == [(0, 0), (1, 1)]


def test_nothing_matches_nothing():
    assert pairs([], []) == pairs([HERE], []) == pairs([], [HERE]) == []


rows = st.lists(
    st.tuples(
        st.sampled_from("ij"),
        st.sampled_from("mn"),
        *(st.integers(low, low + 3) for low in (100_000, 500_000, 200_000, 900_000)),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(rows, rows)
def test_matching_is_one_to_one_near_and_leaves_no_pair_behind(masks, boxes):
    found = pairs(masks, boxes)

    def is_near(mask, box):
        same_place = mask[:2] == box[:2]
        return same_place and max(abs(a - b) for a, b in zip(mask[2:], box[2:], strict=True)) <= 1

    assert all(is_near(masks[mask], boxes[box]) for mask, box in found)
    masks_left = set(range(len(masks))) - {mask for mask, _ in found}
    boxes_left = set(range(len(boxes))) - {box for _, box in found}
    assert len(masks_left) == len(masks) - len(found)
    assert len(boxes_left) == len(boxes) - len(found)
    assert not any(is_near(masks[mask], boxes[box]) for mask in masks_left for box in boxes_left)


@settings(max_examples=40)
@given(rows, rows)
def test_a_join_has_every_mask_and_every_box_once(masks, boxes):
    joined = join(masks_of(masks), boxes_of(boxes))
    assert sorted(joined.loc[joined["MaskPath"] != "", "MaskPath"]) == sorted(
        masks_of(masks)["MaskPath"]
    )
    assert joined["HasBox"].sum() == len(boxes)
    has_box = joined["HasBox"].astype(bool)
    num_pairs = (has_box & (joined["MaskPath"] != "")).sum()
    assert len(joined) == len(masks) + len(boxes) - num_pairs
    # Where pairs are equally near, how many there are depends on the rows' order, by up to a half.
    assert len(pairs(masks, boxes)) / 2 <= num_pairs <= 2 * len(pairs(masks, boxes))
    unboxed = joined[~has_box]
    assert (unboxed[list(ATTRIBUTES)] == -1).all(axis=None)
    assert (joined[list(ATTRIBUTES)].dtypes == np.int8).all() or joined.empty


def objects_with(**columns):
    plain = dict.fromkeys(ATTRIBUTES, 0) | {"MaskPath": "a.png", "PredictedIoU": np.nan}
    return pd.DataFrame([plain | columns])


def reason(exclude=(), floor=None, require=(), **columns):
    choice = Choice(("Car",), exclude=exclude, require=require, min_predicted_iou=floor)
    return ignore_reasons(objects_with(**columns), choice)[0]


def test_the_first_reason_holds():
    assert reason() == ""
    assert reason(IsGroupOf=1, IsDepiction=1, MaskPath="") == "group of"
    assert reason(IsDepiction=1, MaskPath="") == "depiction"
    assert reason(["IsInside"], IsInside=1, MaskPath="") == "no mask"
    assert reason(["IsInside"], 0.9, IsInside=1, PredictedIoU=0.1) == "filtered: IsInside"
    assert reason(["IsInside"], 0.9, PredictedIoU=0.1) == "low predicted IoU"


def test_unknown_values_are_no_reason():
    assert reason(list(ATTRIBUTES), 0.9, **dict.fromkeys(ATTRIBUTES, -1)) == ""


def test_what_is_required_must_be_known():
    required = ["IsOccluded", "IsInside"]
    assert reason(require=required, IsOccluded=1, IsInside=1) == ""
    assert reason(require=required, IsInside=1) == "filtered: not IsOccluded"
    assert reason(require=required, IsOccluded=1, IsInside=-1) == "filtered: not IsInside"
    assert reason(["IsTruncated"], require=required, IsTruncated=1) == "filtered: IsTruncated"


def test_attributes_that_are_not_excluded_are_no_reason():
    assert reason(IsOccluded=1, IsTruncated=1, IsInside=1) == ""


def test_objects_are_sorted_by_image_class_and_place():
    table = join(masks_of([("b", "x", 1, 9, 1, 9), ("a", "y", 5, 9, 1, 9)]), boxes_of([]))
    more = join(masks_of([("a", "x", 7, 9, 1, 9), ("a", "y", 4, 9, 1, 9)]), boxes_of([]))
    table = pd.concat([table, more])
    table = table.assign(ClassName=table["LabelName"].map({"x": "Van", "y": "Car"}))
    ordered = sort(table, ["Van", "Car"])
    keys = ordered[["ImageID", "ClassName", "XMin"]].itertuples(index=False, name=None)
    assert list(keys) == [
        ("a", "Van", 7e-6),
        ("a", "Car", 4e-6),
        ("a", "Car", 5e-6),
        ("b", "Van", 1e-6),
    ]
