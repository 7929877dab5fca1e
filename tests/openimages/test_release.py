import csv
from dataclasses import replace

import pytest

from oiv5_d2.openimages import release
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.release import HEX_DIGITS, SPLITS, V5, ReleaseFile
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.select import select
from oiv5_d2.synthetic import write_release

# Not the whole of it, but what differs in kind: paths, a header, more columns.
V6 = replace(
    V5,
    name="V6",
    train_boxes=ReleaseFile("v6/oidv6-train-annotations-bbox.csv", release.V6_BOX_COLUMNS),
    classes=ReleaseFile("v6/oidv6-class-descriptions.csv", release.CLASS_COLUMNS),
)


@pytest.mark.parametrize(
    ("split", "num_bytes"),
    [("train", 4_472_439_320), ("validation", 57_563_535), ("test", 170_561_099)],
)
def test_the_sixteen_zips_of_a_split_add_up_to_the_published_bytes(split, num_bytes):
    zips = [V5.mask_zip(split, digit) for digit in HEX_DIGITS]
    assert sum(file.num_bytes for file in zips) == num_bytes
    assert len({file.md5 for file in zips}) == 16


@pytest.mark.parametrize("split", SPLITS)
def test_every_table_of_a_split_has_its_columns_and_bytes(split):
    for file in V5.split_csvs(split):
        assert "ImageID" in file.columns
        assert file.num_bytes > 1_000_000
        assert file.path.endswith(".csv")


def test_train_boxes_and_image_lists_are_in_other_folders():
    assert V5.box_csv("train").path == "2018_04/train/train-annotations-bbox.csv"
    assert V5.box_csv("test").path == "v5/test-annotations-bbox.csv"
    assert "boxable" in V5.image_csv("train").path
    assert "boxable" not in V5.image_csv("validation").path


def test_each_split_has_its_own_prefix_in_the_images_bucket():
    assert V5.image_key("validation", "0" * 16) == "validation/0000000000000000.jpg"


def test_a_file_of_unknown_length_or_md5_has_none():
    assert V5.hierarchy.num_bytes is None
    assert V5.class_csv.num_bytes == 12_011
    assert V5.box_csv("train").md5 is None


@pytest.mark.parametrize("split", ["val", "Train", "", "../train"])
def test_a_split_that_does_not_exist_is_refused(split):
    for name_file in (V5.mask_csv, V5.box_csv, V5.image_csv):
        with pytest.raises(ValueError):
            name_file(split)


@pytest.mark.parametrize("digit", ["g", "A", "00", "", "/"])
def test_a_digit_that_names_no_zip_is_refused(digit):
    with pytest.raises(ValueError):
        V5.mask_zip("train", digit)


def test_another_release_is_another_value_and_gives_the_same_subset(tmp_path):
    subsets = {}
    for each in (V5, V6):
        root = tmp_path / each.name
        write_release(root, {"train": 4}, (48, 64), release=each)
        choice = Choice(("Person", "Car"), splits=("train",))
        subsets[each.name] = select((root / release.ANNOTATIONS_DIR).joinpath, each, choice)[
            "train"
        ]
    assert subsets["V6"].images.equals(subsets["V5"].images)
    assert subsets["V6"].instances.equals(subsets["V5"].instances)
    boxes = tmp_path / "V6" / release.ANNOTATIONS_DIR / V6.box_csv("train").path
    with boxes.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == release.V6_BOX_COLUMNS
    [rows] = read_rows(boxes, release.V6_BOX_COLUMNS)
    assert len(rows) > 0
