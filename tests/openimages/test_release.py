import pytest

from oiv5_d2.openimages import release


@pytest.mark.parametrize(
    ("split", "num_bytes"),
    [("train", 4_472_439_320), ("validation", 57_563_535), ("test", 170_561_099)],
)
def test_the_sixteen_zips_of_a_split_add_up_to_the_published_bytes(split, num_bytes):
    zips = [release.mask_zip(split, digit) for digit in release.HEX_DIGITS]
    assert sum(file.num_bytes for file in zips) == num_bytes
    assert len({file.md5 for file in zips}) == 16


@pytest.mark.parametrize("split", release.SPLITS)
def test_every_table_of_a_split_has_its_columns_and_bytes(split):
    tables = [release.mask_csv, release.box_csv, release.image_label_csv, release.image_csv]
    for table in tables:
        file = table(split)
        assert "ImageID" in file.columns
        assert file.num_bytes > 1_000_000
        assert file.path.endswith(".csv")


def test_train_boxes_and_image_lists_lie_elsewhere():
    assert release.box_csv("train").path == "2018_04/train/train-annotations-bbox.csv"
    assert release.box_csv("test").path == "v5/test-annotations-bbox.csv"
    assert "boxable" in release.image_csv("train").path
    assert "boxable" not in release.image_csv("validation").path


def test_each_split_has_its_own_prefix_in_the_images_bucket():
    assert release.image_key("validation", "0" * 16) == "validation/0000000000000000.jpg"


def test_the_tree_has_a_path_and_an_unknown_fingerprint_is_none():
    assert release.HIERARCHY_JSON.num_bytes is None
    assert release.box_csv("train").md5 is None


@pytest.mark.parametrize("split", ["val", "Train", "", "../train"])
def test_a_split_that_is_not_one_is_refused_with_the_three_that_are(split):
    for name_file in (release.mask_csv, release.box_csv, release.image_csv):
        with pytest.raises(ValueError, match="train, validation, test"):
            name_file(split)


@pytest.mark.parametrize("digit", ["g", "A", "00", "", "/"])
def test_a_digit_that_names_no_zip_is_refused(digit):
    with pytest.raises(ValueError, match="hex digit"):
        release.mask_zip("train", digit)
