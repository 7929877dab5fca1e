import random

import numpy as np
import pandas as pd
import pytest
from annotations import BOX, MIDS, Annotations, boxes_at, image_id
from hypothesis import given, settings
from hypothesis import strategies as st
from raising import refused

from oiv5_d2.openimages import release
from oiv5_d2.openimages.release import V5
from oiv5_d2.problems import Kind, Problem
from oiv5_d2.selection.choice import Choice, Limit
from oiv5_d2.selection.select import needed_tables, num_bytes_to_read, select
from oiv5_d2.selection.subset import save

WANTED = ("Person", "Car")


@pytest.fixture
def annotations(tmp_path):
    return Annotations(tmp_path / "openimages")


def select_from(root, classes=WANTED, **settings):
    return select(root.joinpath, V5, Choice(tuple(classes), **settings))


def select_train(annotations, classes=WANTED, **settings):
    return select_from(annotations.write(), classes, splits=("train",), **settings)["train"]


# --- Objects -------------------------------------------------------------------------------------


def test_children_are_rolled_up_and_keep_their_own_label(annotations):
    left, middle, right = boxes_at(1, 2, 3)
    annotations.add_object(image_id(1), "Woman", right)
    annotations.add_object(image_id(1), "Van", left)
    annotations.add_object(image_id(1), "Man", middle)
    subset = select_train(annotations)
    assert subset.classes == ("Person", "Car")
    assert subset.instances["ClassName"].tolist() == ["Person", "Person", "Car"]
    assert subset.instances["LabelName"].tolist() == [MIDS["Man"], MIDS["Woman"], MIDS["Van"]]
    labels = subset.recipe["counts"]["classes"]["Person"]["labels"]
    assert {name: row["targets"] for name, row in labels.items()} == {"Man": 1, "Woman": 1}


def test_without_roll_up_children_are_not_taken(annotations):
    annotations.add_object(image_id(1), "Person", boxes_at(1)[0])
    annotations.add_object(image_id(1), "Man", boxes_at(2)[0])
    subset = select_train(annotations, roll_up=False)
    assert subset.instances["LabelName"].tolist() == [MIDS["Person"]]


def test_siblings_are_never_taken(annotations):
    for number, name in enumerate(["Car", "Bus", "Motorcycle"]):
        annotations.add_object(image_id(number), name)
    subset = select_train(annotations, ["Car"])
    assert subset.images["ImageID"].tolist() == [image_id(0)]


def test_classes_can_be_wanted_by_mid_in_any_order(annotations):
    annotations.add_object(image_id(1), "Motorcycle")
    annotations.add_object(image_id(1), "Man")
    subset = select_train(annotations, [MIDS["Motorcycle"], "Person"])
    assert subset.classes == ("Motorcycle", "Person")
    assert subset.instances["ClassName"].tolist() == ["Motorcycle", "Person"]
    assert subset.instances["MaskPath"][0] == f"{image_id(1)}_m04_sv_00000001.png"


def test_a_mask_takes_the_attributes_of_its_own_box(annotations):
    first, second = boxes_at(1, 2)
    annotations.add_object(image_id(1), "Car", first, IsOccluded=1, IsTruncated=-1)
    annotations.add_object(image_id(1), "Car", second, IsInside=1)
    subset = select_train(annotations)
    row = subset.instances.iloc[0]
    assert row[list(release.ATTRIBUTES)].tolist() == [1, -1, 0, 0, 0]
    assert row["BoxID"] == "00000001"
    assert row[["XMin", "XMax", "YMin", "YMax"]].tolist() == [0.01, 0.11, 0.2, 0.9]
    assert subset.recipe["counts"]["masks_with_box"] == 2


def test_boxes_join_within_the_tolerance_and_not_beyond(annotations):
    annotations.add_mask(image_id(1), "Car", (0.1, 0.5, 0.2, 0.9))
    annotations.add_box(image_id(1), "Car", (0.100001, 0.499999, 0.2, 0.900001))
    annotations.add_mask(image_id(2), "Car", (0.1, 0.5, 0.2, 0.9))
    annotations.add_box(image_id(2), "Car", (0.100003, 0.5, 0.2, 0.9))
    counts = select_train(annotations).recipe["counts"]
    assert counts["masks_with_box"] == counts["masks_without_box"] == 1
    assert counts["boxes_without_mask"] == 1


def test_a_mask_without_a_box_stays_with_unknown_attributes(annotations):
    annotations.add_mask(image_id(1), "Car", iou="0.5")
    row = select_train(annotations).instances.iloc[0]
    assert row[list(release.ATTRIBUTES)].tolist() == [-1] * 5
    assert (row["Ignore"], row["PredictedIoU"]) == ("", 0.5)


def test_a_box_without_a_mask_stays_and_is_ignored(annotations):
    first, second = boxes_at(1, 2)
    annotations.add_object(image_id(1), "Car", first)
    annotations.add_box(image_id(1), "Man", second)
    subset = select_train(annotations)
    row = subset.instances.iloc[0]
    assert (row["MaskPath"], row["BoxID"], row["Ignore"]) == ("", "", "no mask")
    assert np.isnan(row["PredictedIoU"])
    assert subset.recipe["counts"]["ignored_because"] == {"no mask": 1}


def test_group_of_and_depiction_boxes_are_ignored_even_with_a_mask(annotations):
    one, two, three, four = boxes_at(1, 2, 3, 4)
    annotations.add_object(image_id(1), "Car", one)
    annotations.add_object(image_id(1), "Car", two, IsGroupOf=1)
    annotations.add_box(image_id(1), "Car", three, IsGroupOf=1)
    annotations.add_object(image_id(1), "Car", four, IsDepiction=1)
    ignore = select_train(annotations).instances["Ignore"].tolist()
    assert ignore == ["", "group of", "group of", "depiction"]


def test_filters_keep_the_objects_as_ignored(annotations):
    places = boxes_at(1, 2, 3, 4)
    annotations.add_object(image_id(1), "Car", places[0], iou="0.9")
    annotations.add_object(image_id(1), "Car", places[1], iou="0.9", IsOccluded=1)
    annotations.add_object(image_id(1), "Car", places[2], iou="0.4")
    annotations.add_object(image_id(1), "Car", places[3])
    subset = select_train(annotations, exclude=("IsOccluded",), min_predicted_iou=0.5)
    ignore = subset.instances["Ignore"].tolist()
    assert ignore == ["", "filtered: IsOccluded", "low predicted IoU", ""]


def test_what_is_without_a_required_attribute_is_kept_as_ignored(annotations):
    has, without, unknown, both = boxes_at(1, 2, 3, 4)
    annotations.add_object(image_id(1), "Car", has, IsInside=1)
    annotations.add_object(image_id(1), "Car", without)
    annotations.add_object(image_id(1), "Car", unknown, IsInside=-1)
    annotations.add_object(image_id(1), "Car", both, IsInside=1, IsOccluded=1)
    annotations.add_mask(image_id(1), "Car", BOX)  # without a box nothing is known of it
    annotations.add_object(image_id(2), "Car", without)
    subset = select_train(annotations, require=("IsInside",), exclude=("IsOccluded",))
    ignore = subset.instances["Ignore"].tolist()
    refused_for = "filtered: not IsInside"
    assert ignore == ["", refused_for, refused_for, "filtered: IsOccluded", refused_for]
    assert subset.images["ImageID"].tolist() == [image_id(1)]
    assert subset.recipe["settings"]["require"] == ("IsInside",)


def test_all_required_attributes_are_required(annotations):
    one, two, three = boxes_at(1, 2, 3)
    annotations.add_object(image_id(1), "Car", one, IsOccluded=1, IsTruncated=1)
    annotations.add_object(image_id(1), "Car", two, IsOccluded=1)
    annotations.add_object(image_id(1), "Car", three, IsGroupOf=1, IsOccluded=1, IsTruncated=1)
    subset = select_train(
        annotations,
        require=(
            "IsOccluded",
            "IsTruncated",
        ),
    )
    assert subset.instances["Ignore"].tolist() == ["", "filtered: not IsTruncated", "group of"]


def test_rows_that_come_twice_are_kept_once_and_counted(annotations):
    annotations.add_object(image_id(1), "Car")
    for file in (V5.mask_csv("train"), V5.box_csv("train")):
        annotations.rows[file] *= 3
    subset = select_train(annotations)
    assert len(subset.instances) == 1
    inputs = subset.recipe["inputs"]
    assert inputs[V5.mask_csv("train").path]["rows_left_out_as_repeated"] == 2
    assert inputs[V5.box_csv("train").path]["rows_left_out_as_repeated"] == 2


def test_two_objects_in_one_place_stay_two(annotations):
    for name in ("Man", "Woman", "Woman"):
        annotations.add_mask(image_id(1), name)
    annotations.add_box(image_id(1), "Woman")
    annotations.add_box(image_id(1), "Woman", IsOccluded=1)
    subset = select_train(annotations)
    assert subset.instances["MaskPath"].nunique() == len(subset.instances) == 3
    assert subset.recipe["counts"]["masks_with_box"] == 2


# --- Images --------------------------------------------------------------------------------------


def test_an_image_is_in_when_it_has_a_training_target(annotations):
    annotations.add_object(image_id(1), "Car")
    annotations.add_box(image_id(2), "Car")
    annotations.add_object(image_id(3), "Car", IsGroupOf=1)
    annotations.add_object(image_id(4), "Bus")
    annotations.add_object(image_id(5), "Car", IsTruncated=1)
    subset = select_train(annotations, exclude=("IsTruncated",))
    assert subset.images["ImageID"].tolist() == [image_id(1)]
    assert set(subset.instances["ImageID"]) == {image_id(1)}


def test_images_without_masks_can_be_taken_too(annotations):
    annotations.add_object(image_id(1), "Car")
    annotations.add_box(image_id(2), "Car")
    annotations.add_box(image_id(3), "Car", IsGroupOf=1)
    annotations.add_box(image_id(4), "Bus")
    subset = select_train(annotations, only_masked=False)
    assert subset.images["ImageID"].tolist() == [image_id(1), image_id(2)]


def test_only_ids_with_a_prefix_are_taken(annotations):
    for digit in "0123abc":
        annotations.add_object(image_id(1, digit), "Car")
        annotations.add_box(image_id(2, digit), "Car")
    for only_masked in (True, False):
        subset = select_train(
            annotations,
            id_prefixes=(
                "a",
                "00",
            ),
            only_masked=only_masked,
        )
        assert set(subset.images["ImageID"].str[0]) == {"0", "a"}


def test_boxes_without_a_required_attribute_choose_no_image(annotations):
    annotations.add_box(image_id(1), "Car", IsTruncated=1)
    annotations.add_box(image_id(2), "Car")
    annotations.add_box(image_id(3), "Car", IsTruncated=1, IsDepiction=1)
    subset = select_train(annotations, only_masked=False, require=("IsTruncated",))
    assert subset.images["ImageID"].tolist() == [image_id(1)]


def test_only_the_listed_images_are_taken(annotations, caplog):
    for number in range(5):
        annotations.add_object(image_id(number), "Car")
        annotations.add_box(image_id(10 + number), "Car")
    listed = tuple(image_id(number) for number in (1, 3, 12, 99))  # no image has the last
    subset = select_train(annotations, image_ids=listed)
    assert subset.images["ImageID"].tolist() == [image_id(1), image_id(3)]
    assert subset.recipe["settings"]["image_ids"] == listed
    assert "2 of the 4 images" in caplog.text
    unmasked = select_train(annotations, image_ids=listed, only_masked=False)
    assert unmasked.images["ImageID"].tolist() == [image_id(1), image_id(3), image_id(12)]
    few = select_train(annotations, image_ids=listed, limit=Limit(1))
    assert len(few.images) == 1


def test_an_image_carries_its_credits_and_split(annotations):
    annotations.add_object(image_id(1), "Car")
    annotations.add_object(image_id(2), "Car")
    annotations.add_image(image_id(2), title='A "title", with a comma')
    subset = select_train(annotations)
    row = subset.images.set_index("ImageID").loc[image_id(2)]
    assert (row["Split"], row["License"], row["Author"]) == ("train", "by/2.0", "Who, I")
    assert row["AuthorProfileURL"] == "https://who"
    assert row["OriginalLandingURL"] == "https://page"
    assert (row["Title"], row["Rotation"]) == ('A "title", with a comma', 90.0)
    unlisted = subset.images.iloc[0]
    assert unlisted["License"] == ""
    assert np.isnan(unlisted["Rotation"])
    assert subset.recipe["counts"]["images_not_listed"] == 1


def verified(annotations):
    annotations.add_object(image_id(1), "Man")
    row = select_train(annotations).images.iloc[0]
    return row["PositiveClasses"], row["NegativeClasses"]


@pytest.mark.parametrize(
    ("labels", "positive", "negative"),
    [
        ({}, "", ""),
        ({"Man": 1, "Van": 1}, "Car|Person", ""),
        ({"Car": 0, "Person": 0}, "", "Car|Person"),
        ({"Van": 0, "Man": 0}, "", ""),
        ({"Vehicle": 0}, "", "Car"),
        ({"Vehicle": 1, "Bus": 1, "Bus ": 0}, "", ""),
        ({"Vehicle": 0, "Van": 1}, "Car", ""),
    ],
)
def test_verified_labels_are_rolled_up(annotations, labels, positive, negative):
    for name, confidence in labels.items():
        annotations.add_label(image_id(1), name.strip(), confidence)
        annotations.add_label(image_id(9), name.strip(), 1 - confidence)
    assert verified(annotations) == (positive, negative)


def ids_of(*numbers):
    return [image_id(number) for number in numbers]


def add_verified(annotations, split):
    """An image with an object, then one for each thing that a person may have verified."""
    annotations.add_object(image_id(1), "Car", split=split)
    labels = {2: ("Person", 0), 3: ("Woman", 1), 4: ("Vehicle", 0), 5: ("Man", 0), 6: ("Bus", 1)}
    for number, (name, confidence) in labels.items():
        annotations.add_label(image_id(number), name, confidence, split)
    annotations.add_box(image_id(7), "Car", split=split)
    annotations.add_label(image_id(7), "Car", 1, split)


def test_validation_and_test_keep_images_whose_labels_were_verified(annotations):
    for split in release.SPLITS:
        add_verified(annotations, split)
    parts = select_from(annotations.write())
    ids = {part: subset.images["ImageID"].tolist() for part, subset in parts.items()}
    kept = ids_of(1, 2, 3, 4, 7)  # neither "no man" nor "a bus" says anything of Person and Car
    assert ids == {"train": ids_of(1), "validation": kept, "test": kept}
    images = parts["validation"].images
    assert images["PositiveClasses"].tolist() == ["", "", "Person", "", "Car"]
    assert images["NegativeClasses"].tolist() == ["", "Person", "", "Car", ""]
    assert parts["validation"].instances["Ignore"].tolist() == ["", "no mask"]
    counts = {part: subset.recipe["counts"] for part, subset in parts.items()}
    assert {p: c["images_without_target"] for p, c in counts.items()} == {
        "train": 0,
        "validation": 4,
        "test": 4,
    }
    without = select_from(annotations.write(), keep_verified=())
    assert [len(subset.images) for subset in without.values()] == [1, 1, 1]


def test_a_part_without_any_target_is_refused_even_if_labels_were_verified(annotations):
    annotations.add_object(image_id(1), "Car")
    annotations.add_label(image_id(2), "Car", 0, "validation")
    with refused(Kind.EMPTY):
        select_from(annotations.write(), splits=("train", "validation"))


def test_a_limit_and_shares_hold_for_verified_images_too(annotations):
    for number in range(40):
        annotations.add_object(image_id(number), "Car")
    for number in range(100, 300):
        annotations.add_label(image_id(number), "Car", 0)
    shares = {"train": 0.5, "validation": 0.5}
    settings = {"splits": ("train",), "shares": shares}
    parts = select_from(annotations.write(), **settings)
    assert [len(subset.images) for subset in parts.values()] == [20, 20 + 100]
    few = select_from(annotations.write(), **settings, limit=Limit(5))
    assert [len(subset.images) for subset in few.values()] == [5, 5 + 25]
    assert set(few["validation"].images["ImageID"]) < set(parts["validation"].images["ImageID"])
    listed = tuple(ids_of(1, 2, 3, 200, 201))
    some = select_from(annotations.write(), splits=("train",), image_ids=listed,
                       keep_verified=("train",))  # fmt: skip
    assert tuple(some["train"].images["ImageID"]) == listed


# --- Parts and limits ----------------------------------------------------------------------------


def test_each_part_is_made_of_its_own_split(annotations):
    for split in release.SPLITS:
        annotations.add_object(image_id(1), "Car", split=split)
    parts = select_from(annotations.write(), splits=("test", "train"))
    assert {part: subset.images["Split"].tolist() for part, subset in parts.items()} == {
        "test": ["test"],
        "train": ["train"],
    }


def test_a_split_is_cut_into_disjoint_parts_of_the_wanted_sizes(annotations):
    for number in range(100):
        annotations.add_object(image_id(number), "Car")
    shares = {"train": 0.7, "validation": 0.155, "test": 0.145}
    cut = {}
    for seed in (0, 1):
        parts = select_from(annotations.write(), splits=("train",), shares=shares, seed=seed)
        cut[seed] = {part: set(subset.images["ImageID"]) for part, subset in parts.items()}
        assert [len(ids) for ids in cut[seed].values()] == [70, 16, 14]
        assert len(set.union(*cut[seed].values())) == 100
        for part, subset in parts.items():
            assert set(subset.instances["ImageID"]) == cut[seed][part]
    assert cut[0] != cut[1]


def test_a_limit_chooses_images_and_cuts_no_object_out_of_them(annotations):
    for number in range(20):
        for box in boxes_at(1, 2, 3):
            annotations.add_object(image_id(number), "Car", box)
        annotations.add_object(image_id(number), "Man")
    subset = select_train(annotations, limit=Limit(5))
    assert len(subset.images) == 5
    assert len(subset.instances) == 20
    in_masks = select_train(annotations, limit=Limit(7, "masks"))
    assert in_masks.recipe["counts"]["classes"]["Car"]["images"] == 7  # so that there are 7 men
    assert set(subset.images["ImageID"]) < set(in_masks.images["ImageID"])


def test_a_rare_class_gets_its_images_whatever_the_seed(annotations):
    for number in range(60):
        annotations.add_object(image_id(number), "Man")
    annotations.add_object(image_id(7), "Car")
    chosen = set()
    for seed in range(5):
        subset = select_train(annotations, limit=Limit(3), seed=seed)
        assert image_id(7) in set(subset.images["ImageID"])
        assert len(subset.images) == 3
        chosen.add(tuple(subset.images["ImageID"]))
    assert len(chosen) > 1


def test_the_progress_adds_up_to_all_bytes(annotations):
    for split in release.SPLITS:
        annotations.add_object(image_id(1), "Car", split=split)
    seen = []
    for only_masked, keep_verified in ((True, ()), (False, ()), (True, ("test",))):
        annotations_dir = annotations.write()
        choice = Choice(WANTED, only_masked=only_masked, keep_verified=keep_verified)
        select(annotations_dir.joinpath, V5, choice, seen.append)
        total = num_bytes_to_read(annotations_dir.joinpath, V5, choice)
        assert sum(seen) == total
        seen.clear()


# --- What is refused -----------------------------------------------------------------------------


def test_a_list_of_images_of_some_splits_only_is_told_which_to_ask_for(annotations):
    for number, split in enumerate(release.SPLITS):
        annotations.add_object(image_id(number), "Car", split=split)
    with refused(Kind.EMPTY, key="data.splits", about="images of train are"):
        select_from(annotations.write(), image_ids=(image_id(0),))


def test_a_list_of_images_that_are_not_there_leaves_nothing(annotations):
    annotations.add_object(image_id(1), "Car")
    with refused(Kind.EMPTY, key="data.image_ids"):
        select_from(annotations.write(), image_ids=("f" * 16,))


def test_an_empty_part_is_refused(annotations):
    for split in release.SPLITS:
        annotations.add_object(image_id(1), "Car", split=split)
    with refused(Kind.EMPTY, about="train"):
        select_from(annotations.write(), id_prefixes=("f",))


def test_a_label_that_is_no_mid_is_named_with_its_line(annotations):
    annotations.add_object(image_id(1), "Car")
    folder = annotations.write()
    path = folder / V5.mask_csv("train").path
    path.write_text(path.read_text().replace(MIDS["Car"], "Car"))
    with refused(Kind.DAMAGED, about="line 2: LabelName 'Car'"):
        select_from(folder)


@pytest.mark.parametrize("classes", [("Persn",), ()])
def test_classes_that_do_not_exist_are_refused(annotations, classes):
    with refused(Kind.SETTING, key="data.classes"):
        select_from(annotations.write(), classes)


@pytest.mark.parametrize("number", range(14))
def test_a_missing_table_is_named(annotations, number):
    for split in release.SPLITS:
        annotations.add_object(image_id(1), "Car", split=split)
    root = annotations.write()
    file = needed_tables(V5, Choice(WANTED))[number]
    (root / file.path).unlink()
    with pytest.raises((FileNotFoundError, Problem), match=file.path):
        select_from(root)


def test_a_damaged_table_is_refused_with_file_and_line(annotations):
    annotations.add_object(image_id(1), "Car")
    annotations.add_box(image_id(2), "Bus", (0.5, 0.1, 0.2, 0.9))  # not even a wanted row
    with refused(Kind.DAMAGED, about="train-annotations-bbox.csv line 3: "):
        select_train(annotations)


# --- Properties ----------------------------------------------------------------------------------

flags = st.dictionaries(st.sampled_from(release.ATTRIBUTES), st.sampled_from([-1, 0, 1]))
objects = st.tuples(
    st.integers(0, 7),  # image
    st.sampled_from(sorted(MIDS)),
    st.integers(0, 2),  # place: few, so that objects lie in one place
    st.sampled_from(["box", "mask", "both"]),
    st.sampled_from(["", "0.3", "0.8"]),
    flags,
)
choices = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 3),
        "exclude": st.lists(st.sampled_from(release.ATTRIBUTES[:4]), unique=True, max_size=2).map(
            tuple
        ),
        "require": st.sampled_from([(), (), ("IsInside",)]),
        "min_predicted_iou": st.sampled_from([None, 0.5]),
        "roll_up": st.booleans(),
    }
)


def write_objects(annotations_dir, rows, order=None):
    annotations = Annotations(annotations_dir)
    for number, name, place, kind, iou, attributes in rows:
        box = boxes_at(place)[0]
        if kind != "box":
            annotations.add_mask(image_id(number), name, box, iou)
        if kind != "mask":
            annotations.add_box(image_id(number), name, box, **attributes)
    for number in range(8):
        annotations.add_image(image_id(number))
        annotations.add_label(image_id(number), "Vehicle", number % 2)
    return annotations.write(order)


def try_select(annotations_dir, **options):
    try:
        return select_from(annotations_dir, splits=("train",), **options)
    except Problem as problem:
        assert problem.kind is Kind.EMPTY
        return None


@settings(max_examples=12)
@given(st.lists(objects, max_size=40), choices, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(tmp_path_factory, rows, choice, order):
    base = tmp_path_factory.mktemp("order")
    first = try_select(write_objects(base / "a", rows), **choice)
    second = try_select(write_objects(base / "b", rows, order), **choice)
    if first is None or second is None:
        assert first is second
        return
    pd.testing.assert_frame_equal(first["train"].images, second["train"].images)
    pd.testing.assert_frame_equal(first["train"].instances, second["train"].instances)
    assert first["train"].recipe["counts"] == second["train"].recipe["counts"]


@settings(max_examples=12)
@given(st.lists(objects, max_size=40), choices)
def test_every_wanted_object_is_there_once_and_every_image_has_a_target(
    tmp_path_factory, rows, choice
):
    parts = try_select(write_objects(tmp_path_factory.mktemp("all"), rows), **choice)
    if parts is None:
        return
    subset = parts["train"]
    family = {"Person", "Man", "Woman", "Car", "Van"} if choice["roll_up"] else set(WANTED)
    wanted = [row for row in rows if row[1] in family]
    wanted = [row for row in wanted if image_id(row[0]) in set(subset.images["ImageID"])]
    masks = subset.instances[subset.instances["MaskPath"] != ""]
    assert len(masks) == masks["MaskPath"].nunique()
    assert len(masks) == sum(kind != "box" for _, _, _, kind, _, _ in wanted)
    targets = subset.instances[subset.instances["Ignore"] == ""]
    assert set(targets["ImageID"]) == set(subset.images["ImageID"])
    assert (targets["MaskPath"] != "").all()
    for name in ("IsGroupOf", "IsDepiction", *choice["exclude"]):
        assert (targets[name] != 1).all()
    for name in choice["require"]:
        assert (targets[name] == 1).all()


@settings(max_examples=12)
@given(st.lists(objects, max_size=60), st.integers(1, 4), st.sampled_from(["images", "masks"]))
def test_a_limit_gives_each_class_what_there_is_and_takes_no_image_for_nothing(
    tmp_path_factory, rows, limit, unit
):
    annotations_dir = write_objects(tmp_path_factory.mktemp("limit"), rows)
    everything = try_select(annotations_dir)
    if everything is None:
        return
    limited = try_select(annotations_dir, limit=Limit(limit, unit))["train"]

    def count(subset, leave_out=""):
        targets = subset.instances[subset.instances["Ignore"] == ""]
        targets = targets[targets["ImageID"] != leave_out]
        grouped = targets.groupby("ClassName")["ImageID"]
        return (grouped.nunique() if unit == "images" else grouped.size()).reindex(
            WANTED, fill_value=0
        )

    enough = count(everything["train"]).clip(upper=limit)
    assert (count(limited) >= enough).all()
    assert len(limited.images) <= limit * len(WANTED)
    of_whole = everything["train"].instances
    chosen = of_whole[of_whole["ImageID"].isin(limited.images["ImageID"])]
    assert chosen["MaskPath"].tolist() == limited.instances["MaskPath"].tolist()


@settings(max_examples=10)
@given(
    st.lists(objects, min_size=20, max_size=60),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
    st.integers(0, 9),
)
def test_parts_are_disjoint_and_as_large_as_asked(tmp_path_factory, rows, weights, seed):
    annotations_dir = write_objects(tmp_path_factory.mktemp("cut"), rows)
    whole = try_select(annotations_dir)
    shares = {f"part{i}": weight / sum(weights) for i, weight in enumerate(weights)}
    parts = try_select(annotations_dir, shares=shares, seed=seed)
    if whole is None or parts is None:
        return
    ids = [image for subset in parts.values() for image in subset.images["ImageID"]]
    assert sorted(ids) == whole["train"].images["ImageID"].tolist()
    for part, subset in parts.items():
        assert abs(len(subset.images) - shares[part] * len(ids)) <= 1


def saved_bytes(subset, subset_dir):
    save(subset, subset_dir)
    return {path.name: path.read_bytes() for path in sorted(subset_dir.iterdir())}


# --- Whole releases ------------------------------------------------------------------------------


def test_the_synthetic_release_gives_the_same_bytes_twice(tiny_release, tmp_path):
    annotations_dir = tiny_release / release.ANNOTATIONS_DIR
    wanted = ["Person", "Traffic light", "Car", "Traffic sign"]
    first, second = (select_from(annotations_dir, wanted) for _ in range(2))
    for part in release.SPLITS:
        assert len(first[part].images) > 0
        assert first[part].recipe["counts"]["masks_without_box"] == 0
        assert saved_bytes(first[part], tmp_path / f"a-{part}") == saved_bytes(
            second[part], tmp_path / f"b-{part}"
        )


NUM_MIRRORED = {"train": (64, 219), "validation": (14, 54), "test": (14, 44)}


def test_real_masks_are_all_accounted_for(street_mirror):
    annotations_dir = street_mirror / release.ANNOTATIONS_DIR
    everything = ["Person", "Car", "Traffic light", "Traffic sign", "Bus", "Truck", "Bicycle"]
    everything += ["Motorcycle", "Taxi", "Pizza"]
    parts = select_from(annotations_dir, everything)
    for split, (num_images, num_masks) in NUM_MIRRORED.items():
        counts = parts[split].recipe["counts"]
        assert counts["masks"] == counts["masks_with_box"] == num_masks
        assert counts["images"] <= num_images
        objects = counts["targets"] + sum(counts["ignored_because"].values())
        assert objects == counts["objects"] == len(parts[split].instances)
    boxed = select_from(annotations_dir, everything, only_masked=False)
    num_boxed = {part: len(subset.images) for part, subset in boxed.items()}
    assert num_boxed == {split: num_images for split, (num_images, _) in NUM_MIRRORED.items()}


def test_real_siblings_stay_out_and_real_stop_signs_come_in(street_mirror):
    wanted = ["Person", "Traffic light", "Car", "Traffic sign"]
    parts = select_from(street_mirror / release.ANNOTATIONS_DIR, wanted)
    targets = pd.concat([subset.instances for subset in parts.values()])
    labels = targets.groupby("ClassName")["LabelName"].agg(set)
    assert labels["Car"] == {"/m/0k4j"}
    assert labels["Traffic sign"] == {"/m/02pv19"}
    total = sum(subset.recipe["counts"]["targets"] for subset in parts.values())
    assert total == 252


def test_real_images_without_a_target_are_kept_where_they_are_evaluated(street_mirror):
    wanted = ["Person", "Traffic light", "Car", "Traffic sign"]
    parts = select_from(street_mirror / release.ANNOTATIONS_DIR, wanted)
    counts = {part: subset.recipe["counts"] for part, subset in parts.items()}
    numbers = {p: (c["images"], c["images_without_target"]) for p, c in counts.items()}
    assert numbers == {"train": (52, 0), "validation": (14, 0), "test": (14, 3)}
    # The six true Open Images images show only taxis and pizzas.
    ids = {image for subset in parts.values() for image in subset.images["ImageID"]}
    for prefix in ("000bd", "000c6", "000cc", "00b4b", "00dc0", "0a9e4"):
        assert not any(image.startswith(prefix) for image in ids)


def test_a_real_mid_with_an_underscore_is_unharmed(street_mirror):
    subset = select_from(street_mirror / release.ANNOTATIONS_DIR, ["Motorcycle"], splits=("train",))
    paths = subset["train"].instances["MaskPath"]
    assert paths[paths != ""].str.contains("_m04_sv_", regex=False).all()


def test_a_shuffled_real_release_gives_the_same_subset(street_mirror, tmp_path):
    annotations_dir = street_mirror / release.ANNOTATIONS_DIR
    order = random.Random(0)
    for path in annotations_dir.rglob("*.*"):
        if path.suffix == ".zip":
            continue
        lines = path.read_text().splitlines(keepends=True)
        if path.suffix == ".csv" and "class" not in path.name:
            rows = lines[1:]
            order.shuffle(rows)
            lines[1:] = rows
        target = tmp_path / path.relative_to(annotations_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(lines))
    plain, shuffled = (select_from(place)["train"] for place in (annotations_dir, tmp_path))
    pd.testing.assert_frame_equal(plain.images, shuffled.images)
    pd.testing.assert_frame_equal(plain.instances, shuffled.instances)
